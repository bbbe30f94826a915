import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ToonError } from '../../config/errors.ts';
import { judgeFraming, judgeHead, type RawHead, routeOf } from './head.ts';

/** A head from its lines, with headers joined as Node joins them. */
function headOf(start: string, ...lines: string[]): RawHead {
  const [method = '', target = '', version = 'HTTP/1.1'] = start.split(' ');
  const rawHeaders = lines.flatMap((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  const headers: Record<string, string> = {};
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] ?? '').toLowerCase();
    const value = rawHeaders[at + 1] ?? '';
    headers[name] = name in headers && name !== 'host' ? `${headers[name]}, ${value}` : value;
  }
  return { method, target, httpVersion: version.replace('HTTP/', ''), headers, rawHeaders };
}
const judge = (head: RawHead) =>
  judgeHead(head, judgeFraming(head), (path) => path === '/' || path === '/docs');
const code = (expected: string) => (error: unknown) => error instanceof ToonError && error.code === expected;

const refused: { name: string; head: RawHead; code: string }[] = [
  {
    name: 'a coding in front of chunked',
    head: headOf('POST /upload', 'Host: x', 'Transfer-Encoding: gzip, chunked'),
    code: 'not_implemented',
  },
  {
    name: 'an unknown coding',
    head: headOf('POST /upload', 'Host: x', 'Transfer-Encoding: xchunked'),
    code: 'not_implemented',
  },
  {
    name: 'chunked twice',
    head: headOf('POST /upload', 'Host: x', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'),
    code: 'not_implemented',
  },
  {
    name: 'a length and a coding',
    head: headOf('POST /upload', 'Host: x', 'Content-Length: 5', 'Transfer-Encoding: chunked'),
    code: 'bad_request',
  },
  {
    name: 'two lengths',
    head: headOf('POST /upload', 'Host: x', 'Content-Length: 5', 'Content-Length: 5'),
    code: 'bad_request',
  },
  {
    name: 'a signed length',
    head: headOf('POST /upload', 'Host: x', 'Content-Length: +5'),
    code: 'bad_request',
  },
  {
    name: 'chunked over HTTP/1.0',
    head: headOf('POST /upload HTTP/1.0', 'Transfer-Encoding: chunked'),
    code: 'bad_request',
  },
  {
    name: 'chunked DELETE',
    head: headOf('DELETE /upload', 'Host: x', 'Transfer-Encoding: chunked'),
    code: 'bad_request',
  },
  {
    name: 'chunked OPTIONS',
    head: headOf('OPTIONS /upload', 'Host: x', 'Transfer-Encoding: chunked'),
    code: 'bad_request',
  },
  {
    name: 'chunked GET',
    head: headOf('GET /', 'Host: x', 'Transfer-Encoding: chunked'),
    code: 'bad_request',
  },
  {
    name: 'HTTP/2.0 in plain text',
    head: headOf('GET / HTTP/2.0', 'Host: x'),
    code: 'http_version_not_supported',
  },
  { name: 'HTTP/0.9', head: headOf('GET / HTTP/0.9'), code: 'http_version_not_supported' },
  { name: 'two Hosts', head: headOf('GET /', 'Host: x', 'Host: x'), code: 'bad_request' },
  { name: 'no Host', head: headOf('GET /'), code: 'bad_request' },
  { name: 'a Host with credentials', head: headOf('GET /', 'Host: a@b'), code: 'bad_request' },
  { name: 'a Host with a path', head: headOf('GET /', 'Host: a/b'), code: 'bad_request' },
  { name: 'a Host of 300 bytes', head: headOf('GET /', `Host: ${'a'.repeat(300)}`), code: 'bad_request' },
  {
    name: '101 header fields',
    head: headOf('GET /', 'Host: x', ...Array.from({ length: 100 }, (_, i) => `X-${i}: 1`)),
    code: 'headers_too_large',
  },
  { name: 'an absolute target', head: headOf('GET http://x/', 'Host: x'), code: 'bad_request' },
  { name: 'an authority target', head: headOf('GET x:80', 'Host: x'), code: 'bad_request' },
  { name: 'a target with two slashes', head: headOf('GET //evil/', 'Host: x'), code: 'bad_request' },
  { name: 'a target with a backslash', head: headOf('GET /\\evil', 'Host: x'), code: 'bad_request' },
  { name: 'a target with raw high bytes', head: headOf('GET /\xe9', 'Host: x'), code: 'bad_request' },
  { name: 'a path that is not there', head: headOf('GET /nothing', 'Host: x'), code: 'not_found' },
  { name: 'a path in other letters', head: headOf('POST /Upload', 'Host: x'), code: 'not_found' },
  { name: 'a path with a slash behind', head: headOf('POST /upload/', 'Host: x'), code: 'not_found' },
  { name: 'a path with encoded dots', head: headOf('GET /v1/%2e%2e/styles', 'Host: x'), code: 'not_found' },
  { name: 'GET of a drawing path', head: headOf('GET /upload', 'Host: x'), code: 'method_not_allowed' },
  { name: 'TRACE', head: headOf('TRACE /', 'Host: x'), code: 'method_not_allowed' },
  { name: 'DELETE of a page', head: headOf('DELETE /', 'Host: x'), code: 'method_not_allowed' },
  { name: 'no patience', head: headOf('GET /', 'Host: x', 'X-Deadline-Ms: 0'), code: 'bad_request' },
  {
    name: 'a priority of no class',
    head: headOf('GET /', 'Host: x', 'X-Priority: vip'),
    code: 'bad_request',
  },
  { name: 'patience in words', head: headOf('GET /', 'Host: x', 'X-Deadline-Ms: long'), code: 'bad_request' },
  {
    name: 'patience beyond all bounds',
    head: headOf('GET /', 'Host: x', 'X-Deadline-Ms: 600001'),
    code: 'bad_request',
  },
];
for (const { name, head, code: expected } of refused)
  test(`${name} is ${expected}`, () => assert.throws(() => judge(head), code(expected)));

const accepted: { name: string; head: RawHead; route: string }[] = [
  {
    name: 'a photo',
    head: headOf('POST /transform', 'Host: example.com:8080', 'Content-Length: 5'),
    route: 'draw',
  },
  {
    name: 'a chunked photo',
    head: headOf('POST /v1/images?style=sky', 'Host: [::1]:80', 'Transfer-Encoding: Chunked'),
    route: 'draw',
  },
  { name: 'predict with a slash', head: headOf('POST /api/predict/', 'Host: x'), route: 'draw' },
  { name: 'a page over HTTP/1.0 without Host', head: headOf('GET / HTTP/1.0'), route: 'site' },
  { name: 'HEAD of a result', head: headOf('HEAD /v1/results/x', 'Host: x'), route: 'result' },
  { name: 'an empty Host', head: headOf('GET /live', 'Host: '), route: 'live' },
  { name: 'OPTIONS of the server', head: headOf('OPTIONS *', 'Host: x'), route: 'site' },
];
for (const { name, head, route } of accepted)
  test(`${name} goes to ${route}`, () => assert.equal(judge(head).route.kind, route));

test('a refused method says which ones there are', () => {
  try {
    judge(headOf('PUT /transform', 'Host: x'));
    assert.fail();
  } catch (error) {
    assert.ok(error instanceof ToonError);
    assert.deepEqual(error.details.allow, ['POST', 'OPTIONS']);
  }
});

test('only the paths themselves draw; nothing that looks like them', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('/transform', '/upload', '/v1/images'),
      fc.string({ minLength: 1, maxLength: 5 }),
      (path, tail) => {
        assert.notEqual(routeOf(path + tail).kind, 'draw');
        assert.notEqual(routeOf(tail + path).kind, 'draw');
      },
    ),
  );
});
