import assert from 'node:assert/strict';
import test from 'node:test';
import { fillTemplate } from './template.ts';

test('each name gets its value, wherever it stands', () => {
  assert.equal(fillTemplate('a {{x}} {{y_z}}{{x}}', { x: '1', y_z: '$& {{x}}' }), 'a 1 $& {{x}}1');
});
test('a line that is only an empty value goes away', () => {
  assert.equal(fillTemplate('a\n  {{x}}\nb {{x}}\n', { x: '' }), 'a\nb \n');
});
test('a name without a value is told', () => {
  assert.throws(() => fillTemplate('{{nobody}}', {}), /\{\{nobody\}\}/);
});
