// The agent as a process of its own.

import { runProcess } from '../process/lifecycle.ts';
import { startAgent } from './agent.ts';

await runProcess('agent', startAgent);
