import { describe, expect, test } from 'vitest';
import { QmpProtocolViolation } from './errors.ts';
import { parseMessage } from './message.ts';

const timestamp = { seconds: 1700000000, microseconds: 250500 };

test('an event carries its data and its time in milliseconds', () => {
  const line = JSON.stringify({ event: 'MIGRATION', data: { status: 'active' }, timestamp });
  expect(parseMessage(line)).toEqual({
    event: { name: 'MIGRATION', data: { status: 'active' }, timestampMilliseconds: 1700000000250.5 },
  });
});

test('an event without data has empty data; a clock that QEMU could not read is no time', () => {
  const line = JSON.stringify({ event: 'STOP', timestamp: { seconds: -1, microseconds: -1 } });
  expect(parseMessage(line)).toEqual({ event: { name: 'STOP', data: {}, timestampMilliseconds: undefined } });
});

test.each([
  ['an event not in the table', 'RTC_CHANGE', { offset: 1 }],
  ['an event in the table with data of another form', 'MIGRATION', { status: 7 }],
  ['an event named like a member that every object has', 'constructor', {}],
])('%s is kept as OTHER', (_, name, data) => {
  expect(parseMessage(JSON.stringify({ event: name, data, timestamp }))).toMatchObject({
    event: { name: 'OTHER', event: name, data },
  });
});

test('a status that this version does not know is let through', () => {
  const line = JSON.stringify({ event: 'MIGRATION', data: { status: 'teleporting' }, timestamp });
  expect(parseMessage(line)).toMatchObject({ event: { name: 'MIGRATION', data: { status: 'teleporting' } } });
});

describe('is no QMP message', () => {
  test.each([
    '',
    'garbage',
    'null',
    '7',
    '[]',
    '{}',
    '{"return": {}}',
    '{"return": {}, "id": "1"}',
    '{"id": 1}',
    '{"error": {"class": "GenericError", "desc": "Invalid JSON syntax"}}',
    '{"error": "no", "id": 1}',
    '{"event": "STOP"}',
    '{"QMP": {"version": 7}}',
    '['.repeat(100_000),
  ])('%.60j', (line) => {
    expect(() => parseMessage(line)).toThrow(QmpProtocolViolation);
  });
});
