import fc from 'fast-check';
import { expect, test } from 'vitest';
import { InvalidQuantity, parseQuantity } from './quantity.ts';

test.each([
  ['a plain number', 1048576, 1048576],
  ['a number as text', '1048576', 1048576],
  ['binary suffixes', '4Gi', 4 * 1024 ** 3],
  ['decimal suffixes', '512M', 512_000_000],
  ['thousands', '128k', 128_000],
  ['a fraction of a binary unit', '1.5Gi', 1.5 * 1024 ** 3],
  ['a fraction that floating point cannot hold', '0.1k', 100],
  ['nothing', 0, 0],
  ['the largest memory the API takes', '16Ti', 16 * 1024 ** 4],
])('%s', (_scenario, quantity, bytes) => {
  expect(parseQuantity(quantity)).toBe(bytes);
});

test.each([
  ['a word', 'lots'],
  ['nothing at all', ''],
  ['a negative amount', -1],
  ['an unknown suffix', '1Kb'],
  ['less than a byte', '100m'],
  ['a fraction of a byte', '1.0001k'],
  ['an exponent', 1e30],
  ['more than is exact', '9999Ti'],
])('%s is refused', (_scenario, quantity) => {
  expect(() => parseQuantity(quantity)).toThrow(InvalidQuantity);
});

test('every whole number of bytes is read as itself', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (bytes) => parseQuantity(bytes) === bytes && parseQuantity(`${bytes}`) === bytes),
  );
});
