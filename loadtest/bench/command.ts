// `toonfleet bench NAME`: the project's benches, each in a file of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const USAGE = `Usage: toonfleet bench NAME [options]      (npm run bench -- NAME [options])

Benches:
  batch      why a worker draws one picture at a time: batches of 1, 2 and 4 on one core and on two
  balancer   this balancer against nginx and HAProxy on the same traces
  cache      what a picture from the response cache costs beside a drawn one
  ceiling    how well a ceiling repeats itself, on virtual and on real workers
  generator  how many uploads a second the load generator makes on one core, and how punctually
  models     every variant of each model against ONNX Runtime, PyTorch and OpenVINO on the same core
  plans      every plan of the load test in sequence, on a fleet that is started for it
  scaling    ceilings of one, two and three nodes, and of virtual workers up to 200 slots
  shapes     whether a session that draws many sizes grows or slows down, and whether fewer sizes would help
  soak       a worker's resident memory over thousands of pictures of mixed sizes, formats and styles
  worker     pictures/s through balancer and workers against the bare model on the same cores

Examples:
  npm run bench worker
  npm run bench balancer -- --quick
  npm run bench -- worker --model embedded --seconds 10
`;

/** Runs a bench that wants a process of its own. */
async function runScript(name: string, args: readonly string[]): Promise<number> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const script = fileURLToPath(new URL(`./${name}.${extension}`, import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, script, ...args], { stdio: 'inherit' });
  const [code] = (await once(child, 'close')) as [number | null];
  return code ?? 1;
}

/** Runs a bench by its name; returns the exit code. */
export async function benchCommand([name, ...args]: string[]): Promise<number> {
  // Through the exit, so that those who started something end it.
  const interrupted = () => process.exit(130);
  const ended = () => process.exit(143);
  process.once('SIGINT', interrupted);
  process.once('SIGTERM', ended);
  try {
    return await runBench(name, args);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (!code?.startsWith('ERR_PARSE_ARGS')) throw error;
    process.stderr.write(`${message}\nSee: toonfleet bench ${name} --help\n`);
    return 2;
  } finally {
    process.off('SIGINT', interrupted);
    process.off('SIGTERM', ended);
  }
}

async function runBench(name: string | undefined, args: string[]): Promise<number> {
  switch (name) {
    case 'worker':
      return (await import('./worker.ts')).benchWorker(args);
    case 'generator':
      return runScript('generator', args);
    case 'cache':
      return (await import('./cache.ts')).benchCache(args);
    // Processes of their own, and no import: loadtest/ knows nothing of the worker's inside.
    case 'batch':
      return runScript('../../server/model/bench/batch', args);
    case 'models':
      return runScript('../../server/model/bench/models', args);
    case 'shapes':
      return runScript('../../server/model/bench/shapes', args);
    case 'soak':
      return (await import('./soak.ts')).benchSoak(args);
    case 'ceiling':
      return (await import('./ceiling.ts')).benchCeiling(args);
    case 'scaling':
      return (await import('./scaling.ts')).benchScaling(args);
    case 'plans':
      return (await import('./plans.ts')).benchPlans(args);
    case 'balancer':
      return (await import('./balancer.ts')).benchBalancer(args);
    case undefined:
    case '--help':
      process.stdout.write(USAGE);
      return name === undefined ? 2 : 0;
    default:
      process.stderr.write(`There is no bench "${name}".\n\n${USAGE}`);
      return 2;
  }
}
