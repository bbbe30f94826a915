// A server that reads each upload to its end and answers one small picture at once: what is left is the cost of those
// before it. Run by the benches in a process of its own; prints its port.

import http from 'node:http';
import type { AddressInfo } from 'node:net';
import sharp from 'sharp';
import { PATHS } from '../../config/contract.ts';
import { VIRTUAL_STYLES } from '../virtual-model.ts';

const picture = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#abc' } })
  .png()
  .toBuffer();
const server = http.createServer((request, response) => {
  request.resume().on('end', () => {
    const [type, body] =
      request.method === 'POST'
        ? ['image/png', picture]
        : [
            'application/json',
            JSON.stringify(request.url === PATHS.styles ? VIRTUAL_STYLES : { status: 'ready' }),
          ];
    response.writeHead(200, { 'content-type': type, 'content-length': body.length }).end(body);
  });
});
server.keepAliveTimeout = 75_000;
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
