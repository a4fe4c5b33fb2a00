import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempDisposableSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { expect, test } from 'vitest';
import { bundleOptions } from '../../dev/bundle.ts';
import { attemptStamp } from '../migration/attempt.ts';
import { createKeyPair } from './key-pair.ts';

const stamp = attemptStamp('0f8fad5b-d9cb-469f-a165-70867728950e', 11);
const day = 24 * 60 * 60 * 1000;
const clientAndServer = ['1.3.6.1.5.5.7.3.2', '1.3.6.1.5.5.7.3.1'];

test('a certificate vouches for its own key alone, at either end of a connection', async () => {
  const { certificate, privateKey } = await createKeyPair(stamp);
  const read = new X509Certificate(certificate);
  expect(read.verify(read.publicKey)).toBe(true);
  expect(read.checkPrivateKey(createPrivateKey(privateKey))).toBe(true);
  expect(read).toMatchObject({ ca: false, subjectAltName: `DNS:${stamp}`, keyUsage: clientAndServer });
  expect(read.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
  expect(read.checkHost(stamp)).toBe(stamp);
});

test('it is valid from yesterday on, and longer than any transfer takes', async () => {
  const { certificate } = await createKeyPair(stamp);
  const { validFromDate, validToDate } = new X509Certificate(certificate);
  const days = [validFromDate, validToDate].map((date) => (date.getTime() - Date.now()) / day);
  expect(days).toEqual([expect.closeTo(-1, 3), expect.closeTo(14, 3)]);
});

test('a validity that is asked for is given', async () => {
  const validity = { notBefore: new Date('2020-01-01T00:00:00Z'), notAfter: new Date('2020-01-02T00:00:00Z') };
  const { certificate } = await createKeyPair(stamp, validity);
  const { validFromDate, validToDate } = new X509Certificate(certificate);
  expect([validFromDate, validToDate]).toEqual([validity.notBefore, validity.notAfter]);
});

test('the longest name fits what is published, and a longer one is refused', async () => {
  const { certificate } = await createKeyPair('x'.repeat(64));
  expect(certificate.length).toBeLessThan(2048);
  await expect(createKeyPair('x'.repeat(65))).rejects.toThrow(RangeError);
});

test('a server is called by DNS names and by addresses, of any length', async () => {
  const name = `${'long.'.repeat(20)}svc`;
  const { certificate } = await createKeyPair('a-server', { addresses: [name, '10.0.0.1'] });
  const read = new X509Certificate(certificate);
  expect([read.checkHost(name), read.checkIP('10.0.0.1')]).toEqual([name, '10.0.0.1']);
  expect([read.checkHost('a-server'), read.checkIP('10.0.0.2')]).toEqual([undefined, undefined]);
});

test('no two are alike', async () => {
  const [one, other] = await Promise.all([createKeyPair(stamp), createKeyPair(stamp)]);
  expect(one.privateKey).not.toBe(other.privateKey);
  expect(new X509Certificate(one.certificate).serialNumber).not.toBe(
    new X509Certificate(other.certificate).serialNumber,
  );
});

test('bundled as it ships, it makes certificates too', async () => {
  using folder = mkdtempDisposableSync(join(tmpdir(), 'vmferry-bundle-'));
  const entryPoints = [fileURLToPath(new URL('key-pair.ts', import.meta.url))];
  await build({ ...bundleOptions, entryPoints, outdir: folder.path });
  const bundled = (await import(join(folder.path, 'key-pair.mjs'))) as { createKeyPair: typeof createKeyPair };
  const { certificate } = await bundled.createKeyPair(stamp);
  expect(new X509Certificate(certificate).checkHost(stamp)).toBe(stamp);
});
