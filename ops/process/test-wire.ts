// For tests: raw bytes to a port, and bytes that are no request by Node's own parser, each with its one strict answer, for
// every port that speaks HTTP.

import { once } from 'node:events';
import net from 'node:net';

/** Writes raw bytes and gives back all that comes until the other side closes. */
export async function rawExchange(port: number, bytes: string | Buffer, end = false): Promise<string> {
  const socket = net.connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('error', () => {});
  socket.write(bytes);
  if (end) socket.end();
  await once(socket, 'close');
  return Buffer.concat(chunks).toString('latin1');
}

/**
 * The statuses with which a port answers payloads, each followed by a request that hides behind it and must never be
 * answered: those that are not the one expected, in words.
 */
export async function wrongAnswers(
  port: number,
  payloads: readonly (readonly [name: string, bytes: string, status: number])[],
): Promise<string[]> {
  const hidden = 'GET /live HTTP/1.1\r\nHost: hidden\r\n\r\n';
  const judged = payloads.map(async ([name, bytes, status]) => {
    const answer = await rawExchange(port, Buffer.from(bytes + hidden, 'latin1'));
    const found = answer.match(/^HTTP\/1\.1 (\d+)/gm) ?? [];
    const fits = found.length === 1 && found[0] === `HTTP/1.1 ${status}` && !/stack|node:/.test(answer);
    return fits ? [] : [`${name}: ${found.join(', ')} instead of ${status}`];
  });
  return (await Promise.all(judged)).flat();
}

const post = (...lines: string[]) => `POST /upload HTTP/1.1\r\nHost: x\r\n${lines.join('\r\n')}\r\n\r\n`;
const chunked = (body: string) => `${post('Transfer-Encoding: chunked')}${body}`;

/** Payload → status. */
export const notHttp: readonly (readonly [name: string, bytes: string, status: number])[] = [
  ['a coding and a length', post('Transfer-Encoding: chunked', 'Content-Length: 4'), 400],
  ['a length and a coding', post('Content-Length: 4', 'Transfer-Encoding: chunked'), 400],
  ['the same length twice', `${post('Content-Length: 4', 'Content-Length: 4')}abcd`, 400],
  ['two lengths', `${post('Content-Length: 4', 'Content-Length: 5')}abcd`, 400],
  ['a list of lengths', `${post('Content-Length: 4, 4')}abcd`, 400],
  ['a length with a sign', `${post('Content-Length: +4')}abcd`, 400],
  ['a hexadecimal length', `${post('Content-Length: 0x4')}abcd`, 400],
  ['a negative length', post('Content-Length: -1'), 400],
  ['an empty length', post('Content-Length:'), 400],
  ['a length beyond all numbers', post('Content-Length: 99999999999999999999'), 400],
  ['a coding that only ends like chunked', `${post('Transfer-Encoding: xchunked')}0\r\n\r\n`, 400],
  ['the coding identity', `${post('Transfer-Encoding: identity')}0\r\n\r\n`, 400],
  ['chunked before another coding', `${post('Transfer-Encoding: chunked, gzip')}0\r\n\r\n`, 400],
  ['chunked twice in a line', `${post('Transfer-Encoding: chunked, chunked')}0\r\n\r\n`, 400],
  [
    'two lines of coding',
    `${post('Transfer-Encoding: chunked', 'Transfer-Encoding: identity')}0\r\n\r\n`,
    400,
  ],
  ['a vertical tab before chunked', `${post('Transfer-Encoding: \x0bchunked')}0\r\n\r\n`, 400],
  ['a space before the colon of a coding', `${post('Transfer-Encoding : chunked')}0\r\n\r\n`, 400],
  ['a folded coding', `${post('Transfer-Encoding:\r\n chunked')}0\r\n\r\n`, 400],
  ['a folded header', 'GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n', 400],
  ['a leading space', ' GET / HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['a space before the first header', 'GET / HTTP/1.1\r\n Host: x\r\n\r\n', 400],
  ['line feeds alone', 'GET / HTTP/1.1\nHost: x\n\n', 400],
  ['a carriage return alone', 'GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n', 400],
  ['a NUL in a header', 'GET / HTTP/1.1\r\nHost: x\0\r\n\r\n', 400],
  ['a chunk extension of 64 KB', chunked(`1;${'a'.repeat(65_536)}\r\nx\r\n0\r\n\r\n`), 413],
  ['a line feed in a chunk extension', chunked('1;a\nb\r\nx\r\n0\r\n\r\n'), 400],
  ['a chunk length that says it is hexadecimal', chunked('0x5\r\nhello\r\n0\r\n\r\n'), 400],
  ['a chunk length beyond all numbers', chunked('fffffffffffffffff\r\nx\r\n0\r\n\r\n'), 400],
  ['a chunk without its line end', chunked('1\r\nxx0\r\n\r\n'), 400],
  ['a space behind a chunk length', chunked('1 \r\nx\r\n0\r\n\r\n'), 400],
  ['a last chunk that ends with a line feed', chunked('1\r\nx\r\n0\n\n'), 400],
  ['a method in small letters', 'get / HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['a method that nobody knows', 'BREW / HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['a head of 9 KiB', `GET / HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(9 * 1024)}\r\n\r\n`, 431],
];
