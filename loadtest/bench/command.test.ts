import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { benchCommand } from './command.ts';

/** Runs a command and gives back its exit code and what it wrote. */
async function bench(t: TestContext, ...args: string[]) {
  let output = '';
  for (const stream of [process.stdout, process.stderr]) {
    const write = stream.write.bind(stream) as (piece: string | Uint8Array) => boolean;
    t.mock.method(stream, 'write', (piece: string | Uint8Array) => {
      // The test runner tells its own news by the same way, in bytes.
      if (typeof piece !== 'string') return write(piece);
      output += piece;
      return true;
    });
  }
  const code = await benchCommand(args);
  t.mock.restoreAll();
  return { code, output };
}

for (const name of ['balancer', 'ceiling', 'plans', 'scaling', 'soak', 'worker'])
  test(`bench ${name} tells its usage with examples, and refuses what it does not know in a sentence`, async (t) => {
    const help = await bench(t, name, '--help');
    assert.equal(help.code, 0);
    assert.match(help.output, new RegExp(`^Usage: npm run bench ${name} [^]*Examples:\n  npm run bench`));
    const wrong = await bench(t, name, '--no-such-option');
    assert.equal(wrong.code, 2);
    assert.match(wrong.output, /no-such-option/);
    assert.doesNotMatch(wrong.output, /\n {4}at /);
  });

const WRONG = [
  ['ceiling', '--on', 'paper'],
  ['ceiling', '--runs', 'many'],
  ['scaling', '--nodes', '0'],
  ['scaling', '--slots', '8;50'],
  ['plans', '--plans', 'holiday'],
  ['soak', '--pictures', 'many'],
  ['soak', '--max-side', '20'],
  ['balancer', '--only', 'nobody'],
  ['balancer', '--part', 'none'],
  ['no-such-bench'],
];
for (const args of WRONG)
  test(`bench ${args.join(' ')} starts nothing and exits as wrong usage`, async (t) => {
    const { code, output } = await bench(t, ...args);
    assert.equal(code, 2);
    assert.match(output, /Usage:/);
  });
