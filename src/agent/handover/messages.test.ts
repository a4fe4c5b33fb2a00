import { expect, test } from 'vitest';
import { handoverCalls, maxBodyBytes, maxTextLength } from './messages.ts';

const { ping, completed, refuse } = handoverCalls;
const frozen = { reason: 'SourceFrozen', message: 'It does not answer.' };

test.each([
  { read: ping.readMessage, value: {} },
  { read: ping.readAnswer, value: { qemu: 'waiting' } },
  { read: ping.readAnswer, value: { qemu: 'absent', verdict: 'Gone' } },
  { read: completed.readMessage, value: { resumeTarget: false } },
  { read: completed.readMessage, value: { resumeTarget: true, stoppedAt: 1_795_000_000_000.25 } },
  { read: completed.readAnswer, value: {} },
  { read: completed.readAnswer, value: { verdict: 'TookOver' } },
  { read: refuse.readMessage, value: frozen },
  { read: refuse.readMessage, value: { ...frozen, message: 'x'.repeat(maxTextLength) } },
  { read: refuse.readAnswer, value: { verdict: 'Lost' } },
])('$value is taken as it is', ({ read, value }) => {
  expect(read(JSON.parse(JSON.stringify(value)))).toEqual(value);
});

test.each([
  { read: ping.readMessage, text: 'null' },
  { read: ping.readMessage, text: '[]' },
  { read: ping.readMessage, text: '"{}"' },
  { read: ping.readMessage, text: '{"__proto__":{}}' },
  { read: ping.readMessage, text: '{"constructor":1}' },
  { read: ping.readAnswer, text: '{}' },
  { read: ping.readAnswer, text: '{"qemu":"running"}' },
  { read: ping.readAnswer, text: '{"qemu":["waiting"]}' },
  { read: ping.readAnswer, text: '{"qemu":"waiting","verdict":null}' },
  { read: completed.readMessage, text: '{}' },
  { read: completed.readMessage, text: '{"resumeTarget":1}' },
  { read: completed.readMessage, text: '{"resumeTarget":true,"stoppedAt":"now"}' },
  { read: completed.readMessage, text: '{"resumeTarget":true,"stoppedAt":1e999}' },
  { read: completed.readMessage, text: '{"resumeTarget":true,"stoppedAt":-1}' },
  { read: completed.readMessage, text: '{"resumeTarget":true,"attempt":1}' },
  { read: completed.readAnswer, text: '{"verdict":"Completed"}' },
  { read: refuse.readMessage, text: '{"reason":"SourceFrozen"}' },
  { read: refuse.readMessage, text: '{"reason":"no word","message":""}' },
  { read: refuse.readMessage, text: `{"reason":"A${'b'.repeat(64)}","message":""}` },
  { read: refuse.readMessage, text: `{"reason":"A","message":"${'x'.repeat(maxTextLength + 1)}"}` },
])('$text is refused', ({ read, text }) => {
  expect(read(JSON.parse(text))).toBeUndefined();
});

test('the longest message fits a body however it is escaped', () => {
  const longest = { reason: `A${'b'.repeat(63)}`, message: '\u0000'.repeat(maxTextLength) };
  expect(refuse.readMessage(longest)).toEqual(longest);
  expect(Buffer.byteLength(JSON.stringify(longest))).toBeLessThan(maxBodyBytes);
});
