/** A certificate with its private key, both in PEM. */
import { KeyObject, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';

const dayMilliseconds = 24 * 60 * 60 * 1000;
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
/** A common name may be no longer; it also keeps certificates below the 2048 characters of the status they are published in. */
const longestName = 64;

export interface KeyPair {
  readonly certificate: string;
  /** PKCS#8. Never leaves the machine that it was made on. */
  readonly privateKey: string;
}

export interface CertificateOptions {
  /** By default one day ago: the clocks of two nodes differ. */
  readonly notBefore?: Date;
  /** By default in 14 days: a transfer may take one week. */
  readonly notAfter?: Date;
  /** DNS names or IP addresses that peers expect; by default the name. */
  readonly addresses?: readonly string[];
}

/**
 * A fresh key with a certificate that it has signed itself, for either end of a TLS connection. Whoever trusts the certificate
 * trusts this one key: it is no authority, and can vouch for no other.
 *
 * @param name the common name; without `addresses` also the DNS name, made up: the peer is told to expect it. At most 64 characters.
 * @throws RangeError for a longer name.
 */
export async function createKeyPair(name: string, options: CertificateOptions = {}): Promise<KeyPair> {
  if (name.length > longestName) throw new RangeError(`${JSON.stringify(name)} is too long for a certificate`);
  const x509 = await import('./library.ts');
  const now = Date.now();
  const { addresses = [name] } = options;
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [name] }],
    notBefore: options.notBefore ?? new Date(now - dayMilliseconds),
    notAfter: options.notAfter ?? new Date(now + 14 * dayMilliseconds),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth, x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        addresses.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
      ),
    ],
  });
  return {
    certificate: `${certificate.toString('pem')}\n`,
    privateKey: KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}
