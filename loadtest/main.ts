// The load test without the rest of toonfleet: npx tsx loadtest/main.ts loadtest|capacity …

import { capacityCommand, loadtestCommand } from './command.ts';

const [command, ...args] = process.argv.slice(2);
process.exitCode =
  command === 'capacity'
    ? await capacityCommand(args)
    : await loadtestCommand(command === 'loadtest' ? args : process.argv.slice(2));
