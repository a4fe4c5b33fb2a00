/** Certificates as the agents make them, and some that are not as they must be. */
import { webcrypto } from 'node:crypto';
import type { KeyPair } from '../credentials/key-pair.ts';

const day = 86_400_000;
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** The library asks for decorators' metadata when it is loaded, and works without any. */
async function loadX509() {
  const reflect = Reflect as unknown as Record<string, unknown>;
  reflect.getMetadata ??= () => undefined;
  reflect.getOwnMetadata ??= () => undefined;
  reflect.hasOwnMetadata ??= () => false;
  reflect.defineMetadata ??= () => undefined;
  return import('@peculiar/x509');
}

/** A self-signed leaf for `name` with its key, as `createKeyPair` of the agent's credentials makes them. */
export async function createKeyPair(
  name: string,
  validity: { notBefore?: Date; notAfter?: Date } = {},
): Promise<KeyPair> {
  const x509 = await loadX509();
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const { clientAuth, serverAuth } = x509.ExtendedKeyUsage;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [name] }],
    notBefore: validity.notBefore ?? new Date(Date.now() - day),
    notAfter: validity.notAfter ?? new Date(Date.now() + day),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([serverAuth, clientAuth]),
      new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }]),
    ],
  });
  const privateKey = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    certificate: certificate.toString('pem'),
    privateKey: x509.PemConverter.encode(privateKey, 'PRIVATE KEY'),
  };
}
