import assert from 'node:assert/strict';
import test from 'node:test';
import { ERRORS, type ErrorCode, errorShapeOf, renderError, ToonError, toToonError } from './errors.ts';

test('each path has its own shape of failure', () => {
  const shapes = [
    '/v1/images',
    '/v1/nowhere',
    '/api/v1/transform',
    '/api/predict',
    '/transform',
    '/upload',
    '/nowhere',
  ].map(errorShapeOf);
  assert.deepEqual(shapes, ['problem', 'problem', 'status', 'plain', 'plain', 'plain', 'plain']);
});

test('a code has the same status in every shape', () => {
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    for (const shape of ['problem', 'status', 'plain'] as const) {
      const answer = renderError(new ToonError(code), shape, 'r1');
      assert.equal(answer.status, ERRORS[code].status);
      assert.equal(JSON.parse(answer.body).code, code);
      assert.equal(JSON.parse(answer.body).request_id, 'r1');
    }
  }
});

test('a problem is RFC 9457 and the dialects keep their words', () => {
  const error = new ToonError('unknown_style', { detail: 'No style "x".', extra: { styles: ['sky'] } });
  const problem = renderError(error, 'problem', 'r1');
  assert.equal(problem.headers['content-type'], 'application/problem+json');
  const body = JSON.parse(problem.body);
  assert.deepEqual(
    [body.title, body.status, body.detail, body.styles],
    ['There is no such style.', 400, 'No style "x".', ['sky']],
  );
  assert.deepEqual(JSON.parse(renderError(error, 'plain', 'r1').body).error, 'No style "x".');
  const status = JSON.parse(renderError(error, 'status', 'r1').body);
  assert.deepEqual([status.status, status.message], ['error', 'No style "x".']);
});

test('Retry-After is in whole seconds, rounded up and never zero', () => {
  const header = (retryAfterMs: number) =>
    renderError(new ToonError('overloaded', { retryAfterMs }), 'plain', 'r').headers['retry-after'];
  assert.deepEqual([0, 1, 1000, 1001].map(header), ['1', '1', '1', '2']);
});

test('what is not from the table becomes an internal error that keeps its cause to itself', () => {
  const cause = new Error('the password is hunter2');
  const error = toToonError(cause);
  assert.equal(error.code, 'internal_error');
  assert.equal(error.cause, cause);
  for (const shape of ['problem', 'status', 'plain'] as const)
    assert.doesNotMatch(renderError(error, shape, 'r').body, /hunter2|at .*\.ts/);
});
