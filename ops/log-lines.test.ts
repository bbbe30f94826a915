import assert from 'node:assert/strict';
import test from 'node:test';
import { quietText, readLogLine, startFailure } from './log-lines.ts';

const event = (fields: object) =>
  JSON.stringify({ level: 'info', role: 'worker', pid: 1, message: 'hello', ...fields });

const cases: { name: string; line: string; quiet?: string; failure?: string }[] = [
  { name: 'what goes well is not shown', line: event({}) },
  { name: 'PM2 about itself is not shown', line: '2026-11-21T12:23:51: PM2 log: App [worker:1] online' },
  { name: 'a rotation is not shown', line: 'Reloading log...' },
  { name: 'an empty line is not shown', line: '  ' },
  {
    name: 'a warning is shown with who gave it',
    line: event({ level: 'warn', role: 'balancer', message: 'agent does not answer' }),
    quiet: 'warn balancer: agent does not answer',
  },
  {
    name: 'a failed start says why',
    line: event({
      level: 'error',
      role: 'balancer',
      message: 'could not start',
      error: { message: 'EADDRINUSE', stack: 's' },
    }),
    quiet: 'error balancer: could not start: EADDRINUSE',
    failure: 'The balancer could not start: EADDRINUSE',
  },
  {
    name: 'a fault of the models is a failed start, and is told once',
    line: event({
      level: 'error',
      message: 'model x is damaged',
      error: { message: 'model x is damaged: really' },
    }),
    quiet: 'error worker: model x is damaged',
    failure: 'A worker cannot become ready: model x is damaged',
  },
  {
    name: 'an error of the agent is no failed start',
    line: event({ level: 'error', role: 'agent', message: 'request failed' }),
    quiet: 'error agent: request failed',
  },
  { name: 'what Node says when it crashes is shown', line: 'SyntaxError: no', quiet: 'SyntaxError: no' },
  { name: 'JSON that is no log line is shown as it is', line: '{"a":1}', quiet: '{"a":1}' },
];
for (const { name, line, quiet, failure } of cases) {
  test(name, () => {
    const read = readLogLine(line);
    assert.equal(quietText(read), quiet);
    assert.equal(startFailure(read), failure);
  });
}

test("a client's control characters do not reach the terminal, whoever tells of them", () => {
  const wipe = '\u001b[2J\u009b2J\u007f';
  for (const line of [
    event({ level: 'error', role: 'balancer', message: `x${wipe}`, error: { message: `y${wipe}` } }),
    event({ level: 'error', message: 'could not start', error: { message: wipe } }),
    `a crash ${wipe}`,
  ])
    for (const shown of [quietText(readLogLine(line)), startFailure(readLogLine(line))])
      assert.ok(!['\u001b', '\u009b', '\u007f'].some((each) => shown?.includes(each)), JSON.stringify(shown));
});
