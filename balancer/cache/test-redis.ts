// For tests: the few words of Redis that the shared store speaks, on a free port, as healthy, slow or wrong as a test
// wants it. What a real Redis does is tried in ops/e2e/cache.test.ts.

import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export class ScriptedRedis {
  readonly records = new Map<string, Buffer>();
  /** `stopped` takes commands and keeps its answers until it goes on; `full` refuses to write. */
  mode: 'well' | 'stopped' | 'full' = 'well';
  /** Commands that were taken, by name. */
  readonly taken: string[] = [];
  readonly #sockets = new Set<net.Socket>();
  readonly #owed: (() => void)[] = [];
  readonly server = net.createServer((socket) => {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => {});
    socket.setNoDelay();
    let rest = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      for (let read = commandOf(rest); read; read = commandOf(rest)) {
        rest = rest.subarray(read.end);
        const reply = this.#replyTo(read.words);
        if (this.mode === 'stopped') this.#owed.push(() => socket.write(reply));
        else socket.write(reply);
      }
    });
  });

  get url(): string {
    return `redis://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** After `stopped`: gives every answer that it owes, in order. */
  goOn(): void {
    this.mode = 'well';
    for (const answer of this.#owed.splice(0)) answer();
  }

  /** Nobody listens any more, and every connection is gone. */
  async die(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #replyTo([name = Buffer.alloc(0), key = Buffer.alloc(0), value]: readonly Buffer[]): Buffer | string {
    const command = name.toString().toUpperCase();
    this.taken.push(command);
    const record = this.records.get(key.toString());
    switch (command) {
      case 'GET':
        return record ? bulk(record) : '$-1\r\n';
      case 'PTTL':
        return record ? ':60000\r\n' : ':-2\r\n';
      case 'SET':
        if (this.mode === 'full') return "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
        if (value) this.records.set(key.toString(), value);
        return '+OK\r\n';
      case 'DEL':
        return `:${this.records.delete(key.toString()) ? 1 : 0}\r\n`;
      case 'INFO':
        return bulk(Buffer.from('loading:0\r\n'));
      default:
        return '+OK\r\n';
    }
  }
}

/** A scripted Redis that ends with its test. */
export async function startScriptedRedis(context: TestContext): Promise<ScriptedRedis> {
  const redis = new ScriptedRedis();
  redis.server.listen(0, '127.0.0.1');
  await once(redis.server, 'listening');
  context.after(async () => {
    if (redis.server.listening) await redis.die();
  });
  return redis;
}

const bulk = (bytes: Buffer) =>
  Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')]);

/** The first whole command of these bytes (an array of bulk strings), and where the next one begins. */
function commandOf(bytes: Buffer): { words: Buffer[]; end: number } | undefined {
  let at = 0;
  const line = () => {
    const end = bytes.indexOf('\r\n', at);
    if (end === -1) return undefined;
    const text = bytes.toString('latin1', at + 1, end);
    at = end + 2;
    return Number(text);
  };
  const count = line();
  const words: Buffer[] = [];
  for (let left = count ?? Number.NaN; left > 0; left--) {
    const length = line();
    if (length === undefined || at + length + 2 > bytes.length) return undefined;
    words.push(bytes.subarray(at, at + length));
    at += length + 2;
  }
  return count === undefined ? undefined : { words, end: at };
}
