import { X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import { createKeyPair } from '../../certificates/key-pair.ts';
import { pinPeer } from './pinned-peer.ts';

const own = await createKeyPair('own');
const peer = await createKeyPair('peer');
const namesake = await createKeyPair('peer');

test('the peer is who has that certificate, not that name', () => {
  const { isPeer } = pinPeer(own, peer.certificate);
  expect(isPeer(new X509Certificate(peer.certificate))).toBe(true);
  expect(isPeer(new X509Certificate(namesake.certificate))).toBe(false);
  expect(isPeer(undefined)).toBe(false);
});

test('of several certificates the first is the peer, and the others are nothing', () => {
  const { isPeer } = pinPeer(own, `${peer.certificate}\n${namesake.certificate}`);
  expect(isPeer(new X509Certificate(peer.certificate))).toBe(true);
  expect(isPeer(new X509Certificate(namesake.certificate))).toBe(false);
});
