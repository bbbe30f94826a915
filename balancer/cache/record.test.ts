import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { fromRecord, toRecord } from './record.ts';

const kept = fc.record({
  headers: fc.dictionary(fc.string(), fc.string()),
  body: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
});

test('a record gives back what was put into it', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), kept, (name, secret, { headers, body }) => {
      const found = fromRecord(name, toRecord(name, { headers: { ...headers }, body }, secret), secret);
      assert.deepEqual(found?.headers, { ...headers });
      assert.deepEqual(found?.body, body);
    }),
  );
});

test('a record with any byte changed, cut or added is none', () => {
  fc.assert(
    fc.property(kept, fc.nat(), fc.integer({ min: 1, max: 255 }), (picture, where, flip) => {
      const record = toRecord('name', picture, 'secret');
      const at = where % record.length;
      const changed = Buffer.from(record);
      changed.writeUInt8(record.readUInt8(at) ^ flip, at);
      assert.equal(fromRecord('name', changed, 'secret'), undefined);
      assert.equal(fromRecord('name', record.subarray(0, at), 'secret'), undefined);
      assert.equal(fromRecord('name', Buffer.concat([record, Buffer.of(flip)]), 'secret'), undefined);
    }),
  );
});

test('a record under another name, or by another secret, is none', () => {
  const record = toRecord('name', { headers: {}, body: Buffer.from('picture') }, 'secret');
  assert.equal(fromRecord('other', record, 'secret'), undefined);
  assert.equal(fromRecord('name', record, ''), undefined);
  assert.ok(fromRecord('name', record, 'secret'));
});
