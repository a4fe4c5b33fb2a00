import { expect, test } from 'vitest';
import { createKeyPair } from '../../certificates/key-pair.ts';
import { bundleWith } from './certificate-bundle.ts';

const now = Date.parse('2026-01-02T00:00:00Z');
const hour = 3_600_000;

/** Made so many hours ago, for a day. */
async function certificate(hoursAgo: number): Promise<string> {
  const notBefore = new Date(now - hoursAgo * hour);
  const { certificate } = await createKeyPair('r', { notBefore, notAfter: new Date(notBefore.getTime() + 24 * hour) });
  // As it is written again.
  return `${certificate.trim()}\n`;
}

test('a replica adds its own to those of others', async () => {
  const [own, other] = await Promise.all([certificate(1), certificate(2)]);
  expect(bundleWith('', [own], now)).toBe(own);
  expect(bundleWith(other, [own], now)).toBe(other + own);
});

test('one that is there already changes nothing, wherever it stands', async () => {
  const [own, next, other] = await Promise.all([certificate(1), certificate(0), certificate(2)]);
  expect(bundleWith(own + other, [own], now)).toBe(own + other);
  expect(bundleWith(next + other + own, [own, next], now)).toBe(next + other + own);
});

test('what has expired goes, and what cannot be read', async () => {
  const [own, other, expired] = await Promise.all([certificate(1), certificate(2), certificate(24)]);
  const broken = other.replace(/\n.*\n/, '\nAAAA\n');
  expect(bundleWith(expired + own + other, [own], now)).toBe(other + own);
  expect(bundleWith(`# ours\n${broken}${own}`, [own], now)).toBe(`# ours\n${broken}${own}`);
  expect(bundleWith(`${broken}${expired}${own}`, [own], now)).toBe(own);
});

test('of too many the oldest go, never its own', async () => {
  const [own, ...others] = await Promise.all(Array.from({ length: 33 }, (_, index) => certificate(22 - index / 2)));
  if (own === undefined) throw new Error('there is one');
  const bundle = bundleWith(others.join(''), [own], now);
  expect(bundle.match(/BEGIN/g)).toHaveLength(32);
  expect(bundle).toContain(own);
  expect(bundle).not.toContain(others[0]);
  expect(bundleWith(bundle, [own], now)).toBe(bundle);
});
