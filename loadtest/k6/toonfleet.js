// What all k6 plans share: the service level, the photos, and how one picture is asked for.
// Run by run.sh, which draws the photos and passes URL, PHOTOS and the plan's own settings.

import { check } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';

/** The same values as `toonfleet loadtest`. */
export const slo = JSON.parse(open('../slo.json'));
const url = __ENV.URL || 'http://127.0.0.1:8080';
const folder = __ENV.PHOTOS;
const photos = JSON.parse(open(`${folder}/photos.json`)).map((photo) => ({
  ...photo,
  bytes: new Uint8Array(open(`${folder}/${photo.file}`, 'b')),
}));

/** ms of pictures that came back; refusals are quick and would only flatter it. */
export const pictureTime = new Trend('picture_time', true);
/** The share of requests that brought a picture. */
export const pictures = new Rate('pictures');
export const shed = new Counter('shed');
/** Pictures by the moment at which they came back, where a plan asks for it. */
export const answered = new Counter('answered');
/** Answers from a cache say nothing about workers. */
export const cacheHits = new Counter('cache_hits');

/** The clauses of the service level as k6 thresholds, for all requests or for those with a tag. */
export function thresholds(tag = '', abort = {}) {
  const p95 = { threshold: `p(95)<${slo.p95_ms}`, ...abort };
  const rate = { threshold: `rate>=${1 - slo.max_error_rate}`, ...abort };
  return { [`picture_time${tag}`]: [p95], [`pictures${tag}`]: [rate] };
}

/** These make a run invalid rather than the server slow: a generator without a free VU, and caches. */
export const validity = {
  dropped_iterations: ['count<1'],
  cache_hits: ['count<1'],
};

/** Room for as many pictures in flight as the service level allows at this rate, and as many again. */
export function users(rate) {
  const needed = Math.ceil(2 * rate * (slo.p95_ms / 1000)) + 10;
  return { preAllocatedVUs: needed, maxVUs: needed };
}

/** An ordinary load for a while: so many pictures a second, for so many seconds. */
export function steady(qps, seconds) {
  return {
    executor: 'constant-arrival-rate',
    // A minute as unit: rates of k6 are whole numbers, and five a second is too coarse a grid.
    timeUnit: '1m',
    rate: Math.max(1, Math.round(qps * 60)),
    duration: `${seconds}s`,
    ...users(2 * qps),
  };
}

/** Asks for one picture. `tags` are on its metrics; `tagsAtEnd` tells those of the moment when it came back. */
export function picture(tags = {}, tagsAtEnd = undefined) {
  const photo = photos[Math.floor(Math.random() * photos.length)];
  const fields = { image: http.file(ownBytes(photo), photo.file, 'image/jpeg') };
  const form = __ENV.STYLE ? { style: __ENV.STYLE, ...fields } : fields;
  const look = exec.scenario.iterationInTest % 50 === 0;
  const answer = http.post(`${url}/v1/images`, form, {
    tags,
    timeout: '60s',
    responseType: look ? 'binary' : 'none',
  });
  const good =
    check(
      answer,
      {
        'a picture came back': ({ status, headers }) =>
          status === 200 && /^image\/(png|jpeg|webp)/.test(headers['Content-Type'] || ''),
      },
      tags,
    ) &&
    (!look || isPicture(answer.body));
  pictures.add(good, tags);
  if (good) pictureTime.add(answer.timings.duration, tags);
  if (good && tagsAtEnd) answered.add(1, tagsAtEnd());
  if (answer.status === 503) shed.add(1, tags);
  if (answer.headers['X-Cache'] === 'hit') cacheHits.add(1);
}

/** The photo with a comment of its own, so that no cache knows it. */
function ownBytes({ bytes, comment_at: at }) {
  const text = `${Date.now()}-${exec.scenario.iterationInTest}-${exec.vu.idInTest}`;
  const out = new Uint8Array(bytes.length + 4 + text.length);
  out.set(bytes.subarray(0, at));
  out.set([0xff, 0xfe, 0, 2 + text.length], at);
  for (let i = 0; i < text.length; i++) out[at + 4 + i] = text.charCodeAt(i);
  out.set(bytes.subarray(at), at + 4 + text.length);
  return out.buffer;
}

function isPicture(body) {
  const bytes = new Uint8Array(body);
  return (
    (bytes[0] === 0x89 && bytes[1] === 0x50) || (bytes[0] === 0xff && bytes[1] === 0xd8) || bytes[0] === 0x52
  );
}

/** A number from the environment of run.sh. */
export function setting(name, fallback) {
  const value = Number(__ENV[name] || fallback);
  if (!(value > 0)) throw new Error(`${name}: found "${__ENV[name]}"; allowed: a number above 0`);
  return value;
}

/** Ms at 95 of 100, and the share of pictures, of one tag of a summary. */
export function summed(data, tag) {
  const time = data.metrics[`picture_time{${tag}}`];
  const rate = data.metrics[`pictures{${tag}}`];
  return {
    p95: time ? time.values['p(95)'] : null,
    mean: time ? time.values.avg : null,
    count: rate ? rate.values.passes + rate.values.fails : 0,
    good: rate ? rate.values.rate : 0,
  };
}
