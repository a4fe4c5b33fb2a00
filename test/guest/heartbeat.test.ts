import { describe, expect, test } from 'vitest';
import { assertNeverBothRunning, assertUnbroken, readHeartbeats } from './heartbeat.ts';
import type { SerialChunk } from './heartbeat-recorder.ts';

const chunk = (side: string, atMilliseconds: number, text: string): SerialChunk => ({ side, atMilliseconds, text });

describe('a guest that moved once', () => {
  const output = [
    chunk('a', 0, 'boot 00004000\nready\nT0000000'),
    chunk('a', 1, '1\nT00000002\nT00'),
    chunk('b', 20, '000003\nS00000000 00000002 00000010\n'),
    chunk('b', 30, 'T00000004\n'),
  ];

  test('is one unbroken life, with the line that was cut in two', () => {
    const report = readHeartbeats(output);
    expect(report).toMatchObject({ beats: 4, first: 1, last: 4, faults: [], errors: 0, passes: 2, rewrittenPages: 16 });
    expect(report.moves).toEqual([{ from: 'a', to: 'b', gapMilliseconds: 19, atMilliseconds: 20 }]);
    expect(report.longestGapMilliseconds).toBe(19);
    expect(() => assertUnbroken(report)).not.toThrow();
    expect(() => assertNeverBothRunning(output)).not.toThrow();
  });

  test('ran twice when both sides printed the same heartbeat, whatever the order of arrival', () => {
    const twice = [...output, chunk('a', 40, '000003\nT00000004\n')];
    expect(() => assertNeverBothRunning(twice)).toThrow('both ran');
    expect(readHeartbeats(twice).faults).not.toEqual([]);
  });
});

test.each([
  ['repeats', 'T00000007\nT00000007\n', 'heartbeat 7 on a was followed by 7 on a'],
  ['goes back', 'T00000007\nT00000006\n', 'heartbeat 7 on a was followed by 6 on a'],
  ['jumps', 'T00000007\nT00000009\n', 'heartbeat 7 on a was followed by 9 on a'],
  ['finds bad memory', 'T00000007\nS00000002 00000001 00000000\n', 'the guest found 2 errors in its memory'],
  ['says nothing', 'boot 00004000\n', 'no heartbeat at all'],
])('a guest that %s is not unbroken', (_case, text, fault) => {
  expect(() => assertUnbroken(readHeartbeats([chunk('a', 0, text)]))).toThrow(fault);
});

test('the Linux guest is read as well', () => {
  const text =
    'Linux 6.1.0 is up\r\ncounter=1 checksum=aa checks=0 errors=0 ok\r\ncounter=2 checksum=ab checks=1 errors=1 CORRUPT\r\n';
  const report = readHeartbeats([chunk('a', 0, text)]);
  expect(report).toMatchObject({ first: 1, last: 2, errors: 1, passes: 1 });
});
