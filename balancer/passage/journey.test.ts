import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type http from 'node:http';
import net from 'node:net';
import test from 'node:test';
import {
  type Arrival,
  echo,
  picture,
  rawExchange,
  refusedOrigin,
  STYLE,
  startBalancer,
  startUpstream,
  type TestBalancer,
} from './test-upstream.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const blob = (bytes: Buffer) => new Blob([new Uint8Array(bytes)]);
const formWith = (entries: readonly (readonly [string, string | Buffer])[]): FormData => {
  const form = new FormData();
  for (const [name, value] of entries)
    typeof value === 'string' ? form.append(name, value) : form.append(name, blob(value), 'photo.png');
  return form;
};
const post = (
  balancer: TestBalancer,
  path: string,
  body: Buffer | FormData | string,
  headers: Record<string, string> = {},
) =>
  fetch(balancer.url + path, {
    method: 'POST',
    body: Buffer.isBuffer(body) ? new Uint8Array(body) : body,
    headers,
    signal: AbortSignal.timeout(10_000),
  });
const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer());
const jsonOf = async (response: Response) => (await response.json()) as Record<string, unknown>;
const accessLine = (balancer: TestBalancer, from = 0) =>
  balancer.logged(({ message }) => message === 'request', from);
const never = () => {};

test('a photo goes through as the bytes it was, and the answer comes back whole', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream]);
  const photo = picture(randomBytes(200_000));
  const response = await post(
    balancer,
    '/transform',
    formWith([
      ['file', photo],
      ['max_side', '512'],
    ]),
    {
      'x-request-id': 'abc-1',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      'x-deadline-ms': '7000',
      'x-forwarded-for': '1.2.3.4',
      forwarded: 'for=1.2.3.4',
      'x-real-ip': '1.2.3.4',
      cookie: 'secret=1',
    },
  );
  assert.equal(response.status, 200);
  assert.equal(sha256(await bytesOf(response)), sha256(photo));
  const { headers, url } = await upstream.arrived(1);
  assert.equal(url, '/transform?format=png&max_side=512&effort=full');
  assert.equal(headers['x-attempt'], '1');
  assert.equal(headers['x-request-id'], 'abc-1');
  assert.equal(headers['content-type'], 'image/png');
  assert.equal(headers['content-length'], String(photo.length));
  assert.ok(Number(headers['x-deadline-ms']) <= 7000 && Number(headers['x-deadline-ms']) > 4000);
  assert.match(String(headers.traceparent), /^00-0af7651916cd43dd8448eb211c80319c/);
  for (const name of ['x-forwarded-for', 'forwarded', 'x-real-ip', 'cookie', 'transfer-encoding', 'expect'])
    assert.equal(headers[name], undefined, name);
  assert.equal(response.headers.get('x-request-id'), 'abc-1');
  assert.equal(response.headers.get('x-node'), 'vm-test');
  assert.equal(response.headers.get('x-style'), 'meadow');
  assert.match(
    response.headers.get('server-timing') ?? '',
    /^upload;dur=[\d.]+, queue;dur=[\d.]+, decode;dur=1\.0, infer;dur=2\.0, encode;dur=3\.0, total;dur=[\d.]+$/,
  );
  const line = await accessLine(balancer);
  assert.equal(line.request_id, 'abc-1');
  assert.equal(line.status, 200);
  assert.deepEqual(
    (line.attempts as { end: string }[]).map(({ end }) => end),
    ['answer'],
  );
});

test('every dialect reaches the worker in its canonical form', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream]);
  const photo = picture('x');
  const data = `data:image/png;base64,${photo.toString('base64')}`;
  const sent: [
    path: string,
    body: Buffer | FormData | string,
    headers: Record<string, string>,
    url: string,
  ][] = [
    [
      '/v1/images?style=meadow',
      photo,
      { accept: 'application/json' },
      '/v1/images?style=meadow&format=json&max_side=1024&effort=full',
    ],
    ['/v1/images', photo, { accept: 'image/webp' }, '/v1/images?format=webp&max_side=1024&effort=full'],
    [
      '/v1/images?quality=7',
      formWith([
        ['image', photo],
        ['format', 'jpg'],
      ]),
      {},
      '/v1/images?format=jpeg&max_side=1024&quality=7&effort=full',
    ],
    ['/upload', formWith([['file', photo]]), {}, '/upload?max_side=1024&effort=full'],
    ['/upload', formWith([['image', photo]]), {}, '/upload?max_side=1024&effort=full'],
    [
      '/api/v1/transform',
      formWith([['image', photo]]),
      {},
      '/api/v1/transform?style=hayao_64&max_side=1024&effort=full',
    ],
    [
      '/api/predict/',
      JSON.stringify({ data: [data, 'meadow'] }),
      {},
      '/api/predict?style=meadow&max_side=1024&effort=full',
    ],
    ['/api/predict', JSON.stringify({ data: [data] }), {}, '/api/predict?max_side=1024&effort=full'],
  ];
  for (const [index, [path, body, headers, url]] of sent.entries()) {
    const response = await post(balancer, path, body, headers);
    assert.equal(response.status, 200, `${path}: ${await response.text()}`);
    const arrival = await upstream.arrived(index + 1);
    assert.equal(arrival.url, url);
    assert.equal(sha256(arrival.body), sha256(photo));
  }
  assert.deepEqual(
    upstream.arrivals.map(({ headers }) => headers['x-upload-field']),
    [undefined, undefined, undefined, 'file', 'image', undefined, undefined, undefined],
  );
});

const refusals: {
  name: string;
  path?: string;
  body: Buffer | FormData | string;
  headers?: Record<string, string>;
  status: number;
  code: string;
  says?: RegExp;
}[] = [
  { name: 'nothing', body: '', status: 400, code: 'empty_image' },
  { name: 'an empty file', body: formWith([['file', Buffer.alloc(0)]]), status: 400, code: 'empty_image' },
  {
    name: 'a form without a picture',
    body: formWith([['style', 'meadow']]),
    status: 400,
    code: 'empty_image',
    says: /send it in/,
  },
  {
    name: 'two pictures',
    body: formWith([
      ['file', picture('a')],
      ['file', picture('b')],
    ]),
    status: 400,
    code: 'bad_request',
    says: /two pictures/,
  },
  {
    name: 'random bytes',
    body: formWith([['file', Buffer.from('some random bytes')]]),
    status: 415,
    code: 'unsupported_image',
  },
  {
    name: 'a GIF called PNG',
    body: formWith([['file', Buffer.from('GIF89a....')]]),
    status: 415,
    code: 'unsupported_image',
    says: /GIF/,
  },
  {
    name: 'an SVG',
    body: Buffer.from('<svg xmlns="x"/>'),
    headers: { 'content-type': 'image/png' },
    status: 415,
    code: 'unsupported_image',
  },
  { name: 'a picture of 30000×30000', body: picture('', 30_000), status: 422, code: 'image_too_large' },
  { name: 'a picture of 1×1', body: picture('', 1), status: 422, code: 'image_too_small' },
  {
    name: 'an unknown style',
    body: formWith([
      ['file', picture()],
      ['style', 'nope'],
    ]),
    status: 400,
    code: 'unknown_style',
    says: /meadow/,
  },
  {
    name: 'a side out of bounds',
    body: formWith([
      ['file', picture()],
      ['max_side', '5000'],
    ]),
    status: 400,
    code: 'bad_request',
    says: /16 to 1024/,
  },
  {
    name: 'a field and a query that differ',
    path: '/transform?style=meadow',
    body: formWith([
      ['file', picture()],
      ['style', 'hayao_64'],
    ]),
    status: 400,
    code: 'bad_request',
  },
  {
    name: 'a body that is no form',
    body: 'hello',
    headers: { 'content-type': 'multipart/form-data; boundary=x' },
    status: 400,
    code: 'bad_request',
  },
  {
    name: 'a form without a boundary',
    body: 'hello',
    headers: { 'content-type': 'multipart/form-data' },
    status: 400,
    code: 'bad_request',
  },
  {
    name: 'a picture above the limit',
    body: picture(Buffer.alloc(3000)),
    status: 413,
    code: 'upload_too_large',
    says: /2KiB/,
  },
  {
    name: 'a picture above the limit in a form',
    body: formWith([['file', picture(Buffer.alloc(3000))]]),
    status: 413,
    code: 'upload_too_large',
  },
  {
    name: 'a form far above the limit',
    body: formWith([['file', picture(Buffer.alloc(300_000))]]),
    status: 413,
    code: 'upload_too_large',
  },
  { name: 'no JSON', path: '/api/predict', body: 'hello', status: 400, code: 'bad_request' },
  {
    name: 'a bad deadline',
    body: formWith([['file', picture()]]),
    headers: { 'x-deadline-ms': 'soon' },
    status: 400,
    code: 'bad_request',
  },
  { name: 'a path that is not there', path: '/nothing', body: 'hello', status: 404, code: 'not_found' },
];

test('bad input gets its code in the shape of its path, and no worker sees it', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream], { TOONFLEET_LIMITS__UPLOAD: '2KiB' });
  for (const { name, path = '/transform', body, headers, status, code, says } of refusals) {
    const response = await post(balancer, path, body, headers);
    assert.equal(response.status, status, name);
    const answer = await jsonOf(response);
    assert.equal(answer.code, code, name);
    if (says) assert.match(JSON.stringify(answer), says, name);
  }
  assert.deepEqual((await jsonOf(await post(balancer, '/v1/images?style=nope', picture()))).styles, [
    'meadow',
  ]);
  assert.equal(
    (await post(balancer, '/v1/images', 'x')).headers.get('content-type'),
    'application/problem+json',
  );
  assert.equal((await jsonOf(await post(balancer, '/api/v1/transform', 'x'))).status, 'error');
  assert.equal(typeof (await jsonOf(await post(balancer, '/upload', 'x'))).error, 'string');
  assert.equal(upstream.arrivals.length, 0);
  assert.equal((await post(balancer, '/transform', picture())).status, 200);
});

test('a style is let through while nobody knows which there are', async (context) => {
  const upstream = await startUpstream(context);
  upstream.styles = undefined as never;
  const balancer = await startBalancer(
    context,
    [],
    { TOONFLEET_UPSTREAMS: JSON.stringify([{ url: upstream.url }]) },
    0,
  );
  await balancer.logged(({ to }) => to === 'up');
  assert.equal((await post(balancer, '/transform?style=whatever', picture())).status, 200);
});

test('the next picture goes out at 102, while the first one is being encoded', async (context) => {
  const finish: (() => void)[] = [];
  const upstream = await startUpstream(context, (arrival) => {
    arrival.response.writeProcessing();
    finish.push(() => echo(arrival));
  });
  const balancer = await startBalancer(context, [upstream]);
  const first = post(balancer, '/transform', picture('1'));
  await upstream.arrived(1);
  const second = post(balancer, '/transform', picture('2'));
  await upstream.arrived(2);
  for (const each of finish) each();
  assert.ok((await bytesOf(await second)).equals(picture('2')));
  assert.ok((await bytesOf(await first)).equals(picture('1')));
});

test('without 102 a worker never has two pictures', async (context) => {
  const waiting: Arrival[] = [];
  const upstream = await startUpstream(context, (arrival) => waiting.push(arrival));
  const balancer = await startBalancer(context, [upstream]);
  const answers = Array.from({ length: 5 }, (_, i) => post(balancer, '/transform', picture(String(i))));
  for (let i = 1; i <= 5; i++) {
    await upstream.arrived(i);
    const arrival = waiting.shift();
    assert.ok(arrival);
    echo(arrival);
  }
  for (const [i, answer] of answers.entries())
    assert.ok((await bytesOf(await answer)).equals(picture(String(i))));
  assert.equal(upstream.mostHeld, 1);
});

test('busy is no failure: the picture goes to whoever is free, and nobody is ejected', async (context) => {
  const busy = await startUpstream(context, ({ response }) => {
    response.writeHead(503, { 'x-admission': 'busy', 'content-length': 0 }).end();
  });
  const free = await startUpstream(context);
  const balancer = await startBalancer(context, [free, busy]);
  for (let i = 0; i < 6; i++)
    assert.equal((await post(balancer, '/transform', picture(String(i)))).status, 200);
  assert.ok(busy.arrivals.length > 0);
  assert.equal(free.arrivals.length, 6);
  assert.ok(!balancer.lines.some(({ message }) => message === 'upstream ejected'));
  assert.ok(free.arrivals.every(({ headers }) => headers['x-attempt'] === '1'));
});

test('a worker that says draining gets nothing more', async (context) => {
  const leaving = await startUpstream(context, ({ response }) => {
    leaving.ready = { status: 503, body: { status: 'draining' } };
    response.writeHead(503, { 'x-admission': 'draining', 'content-length': 0 }).end();
  });
  const staying = await startUpstream(context);
  const balancer = await startBalancer(context, [staying, leaving]);
  for (let i = 0; i < 8; i++)
    assert.equal((await post(balancer, '/transform', picture(String(i)))).status, 200);
  assert.equal(leaving.arrivals.length, 1);
});

for (const how of ['reset', 'half an answer', 'closed without a word'] as const)
  test(`a worker that dies with a picture (${how}): it is replayed elsewhere with the same bytes`, async (context) => {
    const dying = await startUpstream(context, ({ response, request }) => {
      switch (how) {
        case 'half an answer':
          response.writeHead(200, { 'content-type': 'image/png', 'content-length': 1000 });
          return void response.write('half', () => void dying.die());
        case 'reset':
          return void dying.die();
        case 'closed without a word':
          return void request.socket.end(() => void dying.die());
      }
    });
    const living = await startUpstream(context);
    const balancer = await startBalancer(context, [living, dying]);
    const photo = picture(randomBytes(300_000));
    for (let i = 0; i < 4; i++) {
      const response = await post(balancer, '/transform', formWith([['file', photo]]));
      assert.equal(response.status, 200);
      assert.equal(sha256(await bytesOf(response)), sha256(photo));
    }
    assert.equal(dying.arrivals.length, 1);
    const replayed = living.arrivals.find(({ headers }) => headers['x-attempt'] === '2');
    assert.equal(sha256(replayed?.body ?? Buffer.alloc(0)), sha256(photo));
    assert.ok(
      balancer.lines.some(
        ({ message, upstream }) => message === 'upstream ejected' && upstream === dying.url,
      ),
    );
  });

test('a dead port costs no picture', async (context) => {
  const living = await startUpstream(context);
  const dead = await startUpstream(context);
  const balancer = await startBalancer(context, [living, dead], { TOONFLEET_BALANCER__CHECK_INTERVAL: '1m' });
  await dead.die();
  for (let i = 0; i < 4; i++)
    assert.equal((await post(balancer, '/transform', picture(String(i)))).status, 200);
  assert.equal([...balancer.pool.upstreams()].find(({ id }) => id === dead.url)?.state.kind, 'ejected');
});

test('a poison picture is replayed once, then it is 502, and the others live', async (context) => {
  const poison = ({ request }: Arrival) => request.socket.resetAndDestroy();
  const upstreams = await Promise.all([1, 2, 3, 4].map(() => startUpstream(context, poison)));
  const balancer = await startBalancer(context, upstreams);
  const response = await post(balancer, '/transform', picture('poison'));
  assert.equal(response.status, 502);
  assert.equal((await jsonOf(response)).code, 'upstream_failed');
  assert.equal(
    upstreams.reduce((sum, { arrivals }) => sum + arrivals.length, 0),
    2,
  );
});

test('a poison picture on reused connections kills no more workers than on fresh ones', async (context) => {
  const poisoned: string[] = [];
  const sound: Arrival[] = [];
  const upstreams = await Promise.all(
    [1, 2, 3, 4].map(async () => {
      const upstream = await startUpstream(context, (arrival) => {
        if (!arrival.body.includes('poison')) {
          // Each has one in its hands before any answers, so that each has a connection to be used again.
          if (sound.push(arrival) === 4) sound.forEach(echo);
          return;
        }
        poisoned.push(upstream.url);
        void upstream.die();
      });
      return upstream;
    }),
  );
  const balancer = await startBalancer(context, upstreams);
  await Promise.all(upstreams.map((_, i) => post(balancer, '/transform', picture(String(i)))));
  assert.ok(upstreams.every(({ arrivals }) => arrivals.length === 1));
  assert.equal((await post(balancer, '/transform', picture('poison'))).status, 502);
  assert.equal(poisoned.length, 2);
});

test('workers that die together with one who had a picture are no second death of it', async (context) => {
  const held: Arrival[] = [];
  const upstreams = await Promise.all(
    [1, 2, 3].map(() => startUpstream(context, (arrival) => held.push(arrival))),
  );
  const balancer = await startBalancer(context, upstreams);
  // Each has one in its hands before any answers, so that each has a connection to be used again.
  const warmUp = upstreams.map((_, i) => post(balancer, '/transform', picture(String(i))));
  await Promise.all(upstreams.map((upstream) => upstream.arrived(1)));
  held.splice(0).forEach(echo);
  for (const answer of await Promise.all(warmUp)) await answer.arrayBuffer();
  const last = post(balancer, '/transform', picture('last'));
  await Promise.race(upstreams.map((upstream) => upstream.arrived(2)));
  const [first, ...others] = upstreams.toSorted((a, b) => b.arrivals.length - a.arrivals.length);
  // As by one kill of a whole machine: connections end one after the other.
  void first?.die();
  await balancer.logged(({ message }) => message === 'upstream ejected');
  const [sibling, sound] = others.toSorted((a, b) => b.holding - a.holding);
  void sibling?.die();
  assert.ok(sound);
  sound.behaviour = echo;
  held.forEach(echo);
  assert.equal((await last).status, 200);
});

test('an answer that is cut short twice is 502 and never passed as complete', async (context) => {
  const half = ({ response, request }: Arrival) => {
    response.writeHead(200, { 'content-type': 'image/png', 'content-length': 1000 });
    response.write('half', () => request.socket.destroy());
  };
  const upstreams = await Promise.all([1, 2, 3].map(() => startUpstream(context, half)));
  const balancer = await startBalancer(context, upstreams);
  assert.equal((await post(balancer, '/transform', picture())).status, 502);
});

test('a keep-alive race is repeated on the same worker and ejects nobody', async (context) => {
  let resets = 0;
  const upstream = await startUpstream(context, (arrival) => {
    if (upstream.arrivals.length !== 2) return echo(arrival);
    resets += 1;
    arrival.request.socket.resetAndDestroy();
  });
  const balancer = await startBalancer(context, [upstream]);
  assert.equal((await post(balancer, '/transform', picture('1'))).status, 200);
  assert.equal((await post(balancer, '/transform', picture('2'))).status, 200);
  assert.equal(resets, 1);
  assert.equal(upstream.arrivals.length, 3);
  assert.ok(!balancer.lines.some(({ message }) => message === 'upstream ejected'));
});

test('an internal error of a worker is tried elsewhere', async (context) => {
  const failing = ({ response }: Arrival) => void response.writeHead(500, { 'content-length': 0 }).end();
  const broken = await startUpstream(context, failing);
  const sound = await startUpstream(context);
  const balancer = await startBalancer(context, [sound, broken]);
  for (let i = 0; i < 4; i++)
    assert.equal((await post(balancer, '/transform', picture(String(i)))).status, 200);
  sound.behaviour = failing;
  assert.equal((await post(balancer, '/transform', picture())).status, 502);
});

test('a judgement of the worker is passed on as it is', async (context) => {
  const upstream = await startUpstream(context, ({ response }) => {
    const body = '{"error":"damaged","code":"broken_image"}';
    response
      .writeHead(422, { 'content-type': 'application/json', 'content-length': body.length, 'x-secret': '1' })
      .end(body);
  });
  const balancer = await startBalancer(context, [upstream]);
  const response = await post(balancer, '/transform', picture());
  assert.equal(response.status, 422);
  assert.equal((await jsonOf(response)).code, 'broken_image');
  assert.equal(response.headers.get('x-secret'), null);
  assert.equal(upstream.arrivals.length, 1);
});

test('a worker that overruns the deadline is 504, and its slot comes back only with its answer', async (context) => {
  const waiting: Arrival[] = [];
  const upstream = await startUpstream(context, (arrival) => waiting.push(arrival));
  const balancer = await startBalancer(context, [upstream]);
  const response = await post(balancer, '/transform', picture('1'), { 'x-deadline-ms': '60' });
  assert.equal(response.status, 504);
  const next = await post(balancer, '/transform', picture('2'), { 'x-deadline-ms': '60' });
  assert.equal(next.status, 503);
  assert.equal((await jsonOf(next)).code, 'overloaded');
  assert.ok(Number(next.headers.get('retry-after')) >= 1);
  assert.equal(next.headers.get('x-queue-length'), '0');
  assert.equal(upstream.arrivals.length, 1);
  upstream.behaviour = echo;
  for (const arrival of waiting) echo(arrival);
  assert.equal((await post(balancer, '/transform', picture('3'))).status, 200);
});

test('a worker that is found dead by its checks has its picture replayed elsewhere', async (context) => {
  const hanging = await startUpstream(context, () => {
    hanging.ready = { status: 500, body: {} };
  });
  const other = await startUpstream(context);
  const balancer = await startBalancer(context, [other, hanging]);
  const answers = await Promise.all([1, 2, 3].map((i) => post(balancer, '/transform', picture(String(i)))));
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200],
  );
  assert.equal(hanging.arrivals.length, 1);
});

test('an ejected worker comes back after its checks pass', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream]);
  upstream.ready = { status: 500, body: {} };
  const ejected = await balancer.logged(({ message }) => message === 'upstream ejected');
  assert.equal(ejected.reason, 'checks_failed');
  const refused = await post(balancer, '/transform', picture());
  assert.equal(refused.status, 503);
  assert.equal((await jsonOf(refused)).code, 'no_upstream');
  upstream.ready = { status: 200, body: { status: 'ready' } };
  await balancer.logged(({ from, to }) => from === 'ejected' && to === 'up');
  assert.equal((await post(balancer, '/transform', picture())).status, 200);
});

test('a 200 that no worker said is not ready', async (context) => {
  const upstream = await startUpstream(context);
  upstream.ready = { status: 200, body: { hello: 'I am another service' } };
  const balancer = await startBalancer(context, [upstream], {}, 0);
  assert.equal((await post(balancer, '/transform', picture())).status, 503);
});

test('a slow upload holds no slot', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream]);
  const photo = picture(randomBytes(1000));
  const slow = net.connect(balancer.port, '127.0.0.1');
  slow.write(
    `POST /transform HTTP/1.1\r\nHost: x\r\nContent-Length: ${photo.length}\r\nConnection: close\r\n\r\n`,
  );
  slow.write(photo.subarray(0, 500));
  await once(slow, 'connect');
  for (let i = 0; i < 3; i++)
    assert.equal((await post(balancer, '/transform', picture(String(i)))).status, 200);
  const chunks: Buffer[] = [];
  slow.on('data', (chunk) => chunks.push(chunk));
  slow.write(photo.subarray(500));
  await once(slow, 'close');
  assert.match(Buffer.concat(chunks).toString('latin1'), /^HTTP\/1\.1 200 OK\r\n/);
});

test('an upload that does not end in time is 408', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream]);
  const answer = await rawExchange(
    balancer.port,
    'POST /transform HTTP/1.1\r\nHost: x\r\nX-Deadline-Ms: 50\r\nContent-Length: 100\r\n\r\nabc',
  );
  assert.match(answer, /^HTTP\/1\.1 408 .*"code":"upload_too_slow"/s);
  assert.equal(balancer.budget.held, 0);
});

test('uploads beyond memory and disk for all are refused, and the memory comes back', async (context) => {
  const waiting: Arrival[] = [];
  const upstream = await startUpstream(context, (arrival) => waiting.push(arrival));
  const balancer = await startBalancer(context, [upstream], {
    TOONFLEET_BALANCER__BUFFER_BUDGET: '16MiB',
    TOONFLEET_BALANCER__SPILL_BUDGET: '0B',
  });
  const first = post(balancer, '/transform', picture(Buffer.alloc(10 * 1024 * 1024)));
  await upstream.arrived(1);
  const refused = await post(balancer, '/transform', picture(Buffer.alloc(7 * 1024 * 1024)));
  assert.equal(refused.status, 503);
  assert.equal((await jsonOf(refused)).code, 'overloaded');
  assert.ok(refused.headers.get('retry-after'));
  upstream.behaviour = echo;
  for (const arrival of waiting) echo(arrival);
  await bytesOf(await first);
  while (balancer.budget.held > 0) await new Promise((resolve) => setImmediate(resolve));
});

/** A client that goes away when told. */
function leavingClient(balancer: TestBalancer, bytes: Buffer): { leave: () => void } {
  const socket = net.connect(balancer.port, '127.0.0.1');
  socket.on('error', never);
  socket.write(bytes);
  return { leave: () => socket.destroy() };
}
const requestBytes = (photo: Buffer, length = photo.length) =>
  Buffer.concat([
    Buffer.from(`POST /transform HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`),
    photo,
  ]);
const nothingHeld = async (balancer: TestBalancer) => {
  while (
    balancer.budget.held > 0 ||
    balancer.journey.underWay() > 0 ||
    [...balancer.pool.upstreams()].some(({ taken }) => taken > 0)
  )
    await new Promise((resolve) => setImmediate(resolve));
};

/** What slots were kept for in vain. */
const wastedMs = async ({ metrics }: TestBalancer, reason: string) => {
  const { values } = await metrics.wasted.get();
  return 1000 * (values.find(({ labels }) => labels.reason === reason)?.value ?? 0);
};

test('a client that leaves while uploading leaves nothing behind', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream]);
  const client = leavingClient(balancer, requestBytes(picture(), 1000));
  while (balancer.budget.held === 0) await new Promise((resolve) => setImmediate(resolve));
  client.leave();
  const line = await accessLine(balancer);
  assert.deepEqual([line.status, line.code, line.client_gone], [499, 'client_gone', true]);
  await nothingHeld(balancer);
  assert.equal(upstream.arrivals.length, 0);
});

test('a client that leaves while queued leaves the line at once, and its picture is never sent', async (context) => {
  const waiting: Arrival[] = [];
  const upstream = await startUpstream(context, (arrival) => waiting.push(arrival));
  const balancer = await startBalancer(context, [upstream]);
  const first = post(balancer, '/transform', picture('1'));
  await upstream.arrived(1);
  const client = leavingClient(balancer, requestBytes(picture('2')));
  while (balancer.dispatch.queued === 0) await new Promise((resolve) => setImmediate(resolve));
  client.leave();
  while (balancer.dispatch.queued > 0) await new Promise((resolve) => setImmediate(resolve));
  for (const arrival of waiting) echo(arrival);
  await bytesOf(await first);
  await nothingHeld(balancer);
  assert.equal(upstream.arrivals.length, 1);
});

test('a client that leaves while its picture is drawn: the slot is free when the worker is done', async (context) => {
  const waiting: Arrival[] = [];
  const upstream = await startUpstream(context, (arrival) => waiting.push(arrival));
  const balancer = await startBalancer(context, [upstream]);
  const client = leavingClient(balancer, requestBytes(picture('1')));
  await upstream.arrived(1);
  client.leave();
  const second = post(balancer, '/transform', picture('2'));
  while (balancer.dispatch.queued === 0) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(upstream.arrivals.length, 1);
  upstream.behaviour = echo;
  for (const arrival of waiting) echo(arrival);
  assert.equal((await second).status, 200);
  await nothingHeld(balancer);
  assert.ok((await wastedMs(balancer, 'client_gone')) > 0);
  assert.deepEqual(
    balancer.lines.filter(({ message }) => message === 'request').map((line) => line.queue_position),
    [undefined, 0],
  );
});

test('what is drawn beyond its deadline, or lost with its worker, is counted as wasted; what its client gets is not', async (context) => {
  const waiting: Arrival[] = [];
  const upstreams = await Promise.all([startUpstream(context), startUpstream(context)]);
  const [second, first] = upstreams;
  const balancer = await startBalancer(context, upstreams);
  first.behaviour = ({ request }) => {
    // It stays out.
    first.ready = { status: 500, body: {} };
    request.socket.resetAndDestroy();
  };
  assert.equal((await post(balancer, '/transform', picture('lost'))).status, 200);
  const lostMs = await wastedMs(balancer, 'lost');
  assert.ok(lostMs > 0);
  second.behaviour = (arrival) => void waiting.push(arrival);
  assert.equal((await post(balancer, '/transform', picture('late'), { 'x-deadline-ms': '60' })).status, 504);
  assert.equal(await wastedMs(balancer, 'deadline_exceeded'), 0);
  for (const arrival of waiting) echo(arrival);
  while ((await wastedMs(balancer, 'deadline_exceeded')) < 50)
    await new Promise((resolve) => setImmediate(resolve));
  for (const reason of ['client_gone', 'rubbish', 'error_answer'])
    assert.equal(await wastedMs(balancer, reason), 0, reason);
  assert.equal(await wastedMs(balancer, 'lost'), lostMs);
});

test('a client that leaves while it reads leaves nothing behind', async (context) => {
  const upstream = await startUpstream(context, ({ response }) => {
    const body = Buffer.alloc(5 * 1024 * 1024);
    response.writeHead(200, { 'content-type': 'image/png', 'content-length': body.length }).end(body);
  });
  const balancer = await startBalancer(context, [upstream]);
  const socket = net.connect(balancer.port, '127.0.0.1');
  socket.on('error', never);
  socket.write(requestBytes(picture('1')));
  await once(socket, 'data');
  socket.resetAndDestroy();
  await nothingHeld(balancer);
  assert.equal((await post(balancer, '/live', '')).status, 405);
});

test('a worker that dies after its client left is not replayed', async (context) => {
  const waiting: Arrival[] = [];
  const take = (arrival: Arrival) => waiting.push(arrival);
  const upstreams = await Promise.all([1, 2].map(() => startUpstream(context, take)));
  const balancer = await startBalancer(context, upstreams);
  const client = leavingClient(balancer, requestBytes(picture('1')));
  await Promise.race(upstreams.map((upstream) => upstream.arrived(1)));
  client.leave();
  while ((await balancer.publicServer.connections()) > 0)
    await new Promise((resolve) => setImmediate(resolve));
  for (const { request } of waiting) request.socket.resetAndDestroy();
  assert.equal((await accessLine(balancer)).code, 'client_gone');
  await nothingHeld(balancer);
  assert.equal(waiting.length, 1);
});

test('styles are answered from what was learnt, and 503 while nothing is known', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream]);
  assert.deepEqual(await jsonOf(await fetch(`${balancer.url}/v1/styles`)), { styles: [STYLE] });
  const alone = await startBalancer(context, []);
  const refused = await fetch(`${alone.url}/v1/styles`);
  assert.equal(refused.status, 503);
  assert.equal((await jsonOf(refused)).code, 'no_upstream');
});

test('a stored result comes from its node, takes no slot, and keeps range and ETag', async (context) => {
  const id = `vm-test.${'a'.repeat(22)}`;
  const waiting: Arrival[] = [];
  const upstream = await startUpstream(context, (arrival) => {
    if (arrival.method === 'POST') return void waiting.push(arrival);
    const partial = arrival.headers.range !== undefined;
    arrival.response.writeHead(partial ? 206 : 200, {
      'content-type': 'image/png',
      etag: '"x"',
      'content-length': 3,
      'cache-control': 'public, max-age=31536000, immutable',
      ...(partial ? { 'content-range': 'bytes 0-2/9' } : {}),
    });
    arrival.response.end(arrival.method === 'HEAD' ? undefined : 'abc');
  });
  const balancer = await startBalancer(context, [upstream]);
  const drawing = post(balancer, '/transform', picture());
  await upstream.arrived(1);
  const whole = await fetch(`${balancer.url}/v1/results/${id}`);
  assert.equal(whole.status, 200);
  assert.equal(await whole.text(), 'abc');
  assert.equal(whole.headers.get('etag'), '"x"');
  const part = await fetch(`${balancer.url}/v1/results/${id}`, { headers: { range: 'bytes=0-2' } });
  assert.equal(part.status, 206);
  assert.equal(part.headers.get('content-range'), 'bytes 0-2/9');
  const head = await fetch(`${balancer.url}/v1/results/${id}`, { method: 'HEAD' });
  assert.equal(head.headers.get('content-length'), '3');
  assert.equal(upstream.arrivals[1]?.headers['x-attempt'], undefined);
  for (const other of [
    `vm-other.${'a'.repeat(22)}`,
    'nonsense',
    '..%2f..%2fetc',
    `vm-test.${'a'.repeat(23)}`,
    '',
  ])
    assert.equal((await fetch(`${balancer.url}/v1/results/${other}`)).status, 404, other);
  for (const arrival of waiting) echo(arrival);
  assert.equal((await drawing).status, 200);
});

test('the thumbnail of an added style comes from a worker that draws it; the embedded ones need none', async (context) => {
  const asked: string[] = [];
  const upstream = await startUpstream(context, ({ method, url, response }) => {
    asked.push(`${method} ${url}`);
    response.writeHead(200, {
      'content-type': 'image/webp',
      'content-length': 3,
      'cache-control': 'no-cache',
    });
    response.end(method === 'HEAD' ? undefined : 'abc');
  });
  upstream.styles = [
    STYLE,
    { ...STYLE, id: 'portrait', thumbnail_url: '/thumbnails/portrait.webp', default: false },
  ];
  const balancer = await startBalancer(context, [upstream]);
  const answer = await fetch(`${balancer.url}/thumbnails/portrait.webp`);
  assert.deepEqual([answer.status, await answer.text()], [200, 'abc']);
  assert.equal(answer.headers.get('content-type'), 'image/webp');
  for (const path of [
    '/thumbnails/nobody.webp',
    '/thumbnails/..%2fportrait.webp',
    '/thumbnails/portrait.png',
  ])
    assert.equal((await fetch(`${balancer.url}${path}`)).status, 404, path);
  assert.equal((await fetch(`${balancer.url}/thumbnails/portrait.webp`, { method: 'POST' })).status, 405);
  assert.deepEqual(asked, ['GET /thumbnails/portrait.webp']);
});

test('health, readiness, liveness and the page answer with and without workers', async (context) => {
  const balancer = await startBalancer(
    context,
    [],
    { TOONFLEET_UPSTREAMS: JSON.stringify([{ url: await refusedOrigin() }]) },
    0,
  );
  const status = async (path: string) => (await fetch(balancer.url + path)).status;
  assert.deepEqual(
    await Promise.all(['/live', '/v2/health/live', '/', '/ready', '/v2/health/ready', '/health'].map(status)),
    [200, 200, 200, 503, 503, 503],
  );
  const upstream = await startUpstream(context);
  const other = await startBalancer(context, [upstream]);
  assert.deepEqual(await jsonOf(await fetch(`${other.url}/ready`)), { status: 'ready', node: 'front' });
  assert.equal((await jsonOf(await fetch(`${other.url}/health`))).model_loaded, true);
  other.startDraining();
  const draining = await fetch(`${other.url}/ready`);
  assert.deepEqual([draining.status, (await jsonOf(draining)).status], [503, 'draining']);
  assert.equal(draining.headers.get('connection'), 'close');
});

test('the node key goes to workers and agents', async (context) => {
  const keys: unknown[] = [];
  const upstream = await startUpstream(context, (arrival) => {
    keys.push(arrival.headers['x-node-key']);
    echo(arrival);
  });
  upstream.server.prependListener('request', (request: http.IncomingMessage) => {
    if (request.url === '/ready') keys.push(request.headers['x-node-key']);
  });
  const balancer = await startBalancer(context, [upstream], {
    TOONFLEET_NODE__KEY: 'a key of sixteen or more',
  });
  assert.equal((await post(balancer, '/transform', picture())).status, 200);
  assert.ok(keys.length >= 2);
  assert.ok(keys.every((key) => key === 'a key of sixteen or more'));
});

test('metrics and stats are on the admin port and nowhere else', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream]);
  await bytesOf(await post(balancer, '/transform', picture()));
  for (const path of ['/metrics', '/internal/stats'])
    assert.equal((await fetch(balancer.url + path)).status, 404);
  balancer.adminServer.listen(0, '127.0.0.1');
  await once(balancer.adminServer, 'listening');
  context.after(() => {
    balancer.adminServer.close();
    balancer.adminServer.closeAllConnections();
  });
  const { port } = balancer.adminServer.address() as net.AddressInfo;
  const admin = `http://127.0.0.1:${port}`;
  const text = await (await fetch(`${admin}/metrics`)).text();
  assert.match(text, /http_requests_total\{method="POST",route="\/transform",status="200"\} 1/);
  assert.match(text, /toonfleet_slots\{node="vm-test",state="idle"\} 1/);
  assert.match(
    text,
    /toonfleet_upstream_state\{upstream="http:\/\/127\.0\.0\.1:\d+",node="vm-test",state="up"\} 1/,
  );
  assert.match(text, /nodejs_eventloop_lag_seconds/);
  const stats = await jsonOf(
    await fetch(`${admin}/internal/stats`, { headers: { accept: 'application/json' } }),
  );
  assert.equal(stats.queue_length, 0);
  assert.match(
    await (await fetch(`${admin}/internal/stats`)).text(),
    /^# TYPE toonfleet_stats_requests_per_second gauge$/m,
  );
});

test('a hundred clients at once: each gets its own picture, and no worker ever has two', async (context) => {
  const upstreams = await Promise.all(
    [1, 2, 3].map(() => startUpstream(context, (arrival) => setImmediate(() => echo(arrival)))),
  );
  const balancer = await startBalancer(context, upstreams);
  await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      const photo = picture(`picture ${i} ${'x'.repeat(i * 100)}`);
      const response = await post(balancer, '/transform', photo);
      assert.equal(sha256(await bytesOf(response)), sha256(photo));
    }),
  );
  for (const { mostHeld } of upstreams) assert.equal(mostHeld, 1);
  await nothingHeld(balancer);
});

test('what was drawn with less effort teaches what it cost, and not what the whole would have', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream]);
  let effort = 'full';
  upstream.behaviour = ({ body, response }) => {
    response.writeHead(200, { 'content-type': 'image/png', 'x-style': 'meadow', 'x-effort': effort });
    response.end(body);
  };
  const learnt: [style: string | undefined, megapixels: number][] = [];
  const { costs } = balancer;
  const learn = costs.learn.bind(costs);
  context.mock.method(costs, 'learn', (style: string | undefined, megapixels: number, ms: number) => {
    learnt.push([style, megapixels]);
    learn(style, megapixels, ms);
  });
  for (const [query, said] of [
    ['effort=full', 'full'],
    ['effort=fast', 'fast; side=512'],
    ['effort=auto', 'full'],
    ['effort=auto', 'fast; side=256'],
    ['effort=auto', 'fast; style=ink'],
  ] as const) {
    effort = said;
    const answer = await post(balancer, `/v1/images?${query}`, picture(randomBytes(10), 1024));
    assert.equal(answer.headers.get('x-effort'), said);
  }
  const mega = (side: number) => (side * side) / 1e6;
  assert.deepEqual(learnt, [
    [undefined, mega(1024)],
    [undefined, mega(512)],
    [undefined, mega(1024)],
    [undefined, mega(256)],
  ]);
});

test('an auto picture is let in behind work that a full one could not wait for', async (context) => {
  const upstream = await startUpstream(context);
  const balancer = await startBalancer(context, [upstream]);
  const { costs } = balancer;
  for (let n = 0; n < 50; n++) for (const mp of [1.05, 0.065]) costs.learn('meadow', mp, mp * 4000);
  const held: Arrival[] = [];
  upstream.behaviour = (arrival) => void held.push(arrival);
  const running = post(balancer, '/v1/images?style=meadow', picture(randomBytes(10), 256));
  await upstream.arrived(1);
  const deadline = { 'x-deadline-ms': '4000' };
  const large = () => picture(randomBytes(10), 1024);
  const full = await post(balancer, '/v1/images?style=meadow', large(), deadline);
  assert.equal(full.status, 503);
  const auto = post(balancer, '/v1/images?style=meadow&effort=auto', large(), deadline);
  while (balancer.dispatch.queued === 0) await new Promise((resolve) => setImmediate(resolve));
  upstream.behaviour = echo;
  for (const arrival of held) echo(arrival);
  assert.deepEqual([(await running).status, (await auto).status], [200, 200]);
});
