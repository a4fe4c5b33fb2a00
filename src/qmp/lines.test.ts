import fc from 'fast-check';
import { expect, test } from 'vitest';
import { QmpProtocolViolation } from './errors.ts';
import { LineSplitter } from './lines.ts';

test('lines come out whole however the bytes were cut, in the middle of a character too', () => {
  const line = fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\n', ''));
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat(20), { minLength: 1 }), (lines, cuts) => {
      let rest = Buffer.from(lines.map((text) => `${text}\n`).join(''));
      const splitter = new LineSplitter();
      const seen: string[] = [];
      for (let turn = 0; rest.length > 0; turn++) {
        const size = 1 + (cuts[turn % cuts.length] ?? 0);
        seen.push(...splitter.push(rest.subarray(0, size)));
        rest = rest.subarray(size);
      }
      expect(seen).toEqual(lines);
    }),
  );
});

test('bytes that are not UTF-8 are refused, not replaced', () => {
  expect(() => [...new LineSplitter().push(Buffer.from([0x22, 0xc3, 0x28, 0x22, 0x0a]))]).toThrow(QmpProtocolViolation);
});

test('a line without an end is refused while it grows', () => {
  const splitter = new LineSplitter();
  const chunk = Buffer.alloc(64 * 1024, 'x');
  const flood = () => {
    for (let chunks = 0; chunks < 33; chunks++) [...splitter.push(chunk)];
  };
  expect(flood).toThrow('more than 2097152 bytes');
});
