import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { ERRORS } from '../../config/errors.ts';
import { settingsSchema } from '../../config/schema.ts';
import { createSite, type SiteAnswer, type SiteRequestHeaders } from './site.ts';

const { limits } = settingsSchema.parse({});
const site = createSite({ version: '1.2.3', limits });

function get(path: string, headers: SiteRequestHeaders = {}, method = 'GET'): SiteAnswer {
  const answer = site.answer(method, path, headers);
  assert.ok(answer, `${path} is the site's`);
  return answer;
}

/** The addresses on our own server that a page asks for. */
const links = (html: string) =>
  [...html.matchAll(/(?:href|src|action)="(\/[^"#]*)/g)].map((match) => match[1] ?? '');

const PAGES = ['/', '/docs', '/docs/', '/docs/errors'];

test('every page, script and style that a page asks for is the site’s own, and nothing comes from elsewhere', () => {
  for (const page of PAGES) {
    const html = get(page).body.toString();
    assert.doesNotMatch(html, /(?:href|src)="(?:https?:)?\/\//, `${page} asks nobody else`);
    assert.doesNotMatch(html, /\{\{/, `${page} has every value filled in`);
    for (const link of links(html)) {
      if (link === '/transform') continue;
      assert.ok(site.owns(link), `${page} asks for ${link}`);
      if (link.startsWith('/assets/')) assert.match(link, /-[0-9a-f]{10}\.(css|js|svg)$/);
    }
  }
});

test('no page carries inline script or style, which its own policy would stop', () => {
  for (const page of PAGES) {
    const html = get(page).body.toString();
    assert.doesNotMatch(html, /<script(?![^>]*\ssrc=)|<style|\sstyle="|\son[a-z]+="/i, page);
  }
});

test('every answer carries the policy, nosniff and an ETag', () => {
  for (const path of [...PAGES, '/openapi.json', '/favicon.svg', '/favicon.ico', '/assets/page.js']) {
    const { headers } = get(path);
    assert.equal(
      headers['content-security-policy'],
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    );
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['referrer-policy'], 'no-referrer');
    assert.match(headers.etag ?? '', /^"[0-9a-f]{32}"$/);
  }
});

test('a client that has the page gets 304 without a body', () => {
  const { etag = '' } = get('/').headers;
  for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
    const answer = get('/', { 'if-none-match': known });
    assert.equal(answer.status, 304, known);
    assert.equal(answer.body.length, 0);
    assert.equal(answer.headers.etag, etag);
    assert.equal(answer.headers['content-length'], undefined);
  }
  assert.equal(get('/', { 'if-none-match': '"other"' }).status, 200);
});

test('HEAD tells the length and sends nothing', () => {
  const head = get('/', {}, 'HEAD');
  assert.equal(head.status, 200);
  assert.equal(head.body.length, 0);
  assert.equal(head.headers['content-length'], String(get('/').body.length));
});

test('texts are compressed for who takes gzip, under an ETag of their own', async () => {
  await site.compressed;
  const plain = get('/docs/errors');
  const zipped = get('/docs/errors', { 'accept-encoding': 'br, gzip;q=0.8' });
  assert.equal(zipped.headers['content-encoding'], 'gzip');
  assert.equal(zipped.headers['content-length'], String(zipped.body.length));
  assert.ok(zipped.body.length < plain.body.length / 2);
  assert.deepEqual(gunzipSync(zipped.body), plain.body);
  assert.notEqual(zipped.headers.etag, plain.headers.etag);
  assert.equal(zipped.headers.vary, 'accept-encoding');
  const again = get('/docs/errors', { 'accept-encoding': 'gzip', 'if-none-match': zipped.headers.etag });
  assert.equal(again.status, 304);
  for (const refusal of ['identity', 'gzip;q=0', 'gzip; q=0.0', 'xgzip', '']) {
    assert.equal(
      get('/docs/errors', { 'accept-encoding': refusal }).headers['content-encoding'],
      undefined,
      refusal,
    );
  }
});

test('a hashed asset is kept for ever; a page, and a hash of another release, are asked for again', () => {
  const script = links(get('/').body.toString()).find((link) => /^\/assets\/page-.*\.js$/.test(link)) ?? '';
  const current = get(script);
  assert.match(current.headers['cache-control'] ?? '', /immutable/);
  assert.match(current.headers['content-type'] ?? '', /^text\/javascript/);
  const other = get('/assets/page-0123456789.js');
  assert.deepEqual(other.body, current.body);
  assert.equal(other.headers['cache-control'], 'no-cache');
  assert.equal(get('/').headers['cache-control'], 'no-cache');
});

test('paths of the API and paths that nobody has are not the site’s', () => {
  for (const path of [
    '/v1/images',
    '/ready',
    '/nothing',
    '/assets/',
    '/assets/../package.json',
    '/assets/%2e%2e/package.json',
    '/thumbnails/..',
    '/__proto__',
    '//',
    '',
  ]) {
    assert.equal(site.owns(path), false, path);
    assert.equal(site.answer('GET', path, {}), undefined, path);
  }
});

test('a method that only reads is answered, any other is left to the caller', () => {
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'get']) {
    assert.equal(site.answer(method, '/', {}), undefined, method);
  }
  assert.ok(site.owns('/'));
});

test('the page of errors has an anchor for every code that a client can get', () => {
  const html = get('/docs/errors').body.toString();
  for (const [code, { status }] of Object.entries(ERRORS)) {
    assert.equal(html.includes(`id="${code}"`), status !== 499, code);
  }
});

test('the page is told the limits of the settings, and the document the version', () => {
  const small = createSite({ version: '9.9.9', limits: { ...limits, upload: 3 * 1024 ** 2, max_side: 640 } });
  const html = small.answer('GET', '/', {})?.body.toString() ?? '';
  assert.match(html, /data-upload-bytes="3145728"/);
  assert.match(html, /at most 3 MiB/);
  assert.match(html, /at most 640 px/);
  const document = JSON.parse(small.answer('GET', '/openapi.json', {})?.body.toString() ?? '') as {
    info: { version: string };
  };
  assert.equal(document.info.version, '9.9.9');
});
