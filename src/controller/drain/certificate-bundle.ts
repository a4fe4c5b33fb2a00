/** The webhook's `caBundle`: the certificates of all replicas, each of which vouches for itself alone. */
import { X509Certificate } from 'node:crypto';

/** Every start of a replica adds one, and nobody takes that of a replica away that has ended. */
const maxCertificates = 32;

/**
 * The bundle with these certificates in it, and without those that have expired or are the oldest of too many: the same text when
 * there is nothing to change.
 *
 * @param bundle PEM; what cannot be read in it is dropped
 * @param own PEM, one certificate each
 * @param now milliseconds since the epoch
 */
export function bundleWith(bundle: string, own: readonly string[], now: number): string {
  const ours = own.flatMap(certificates);
  const present = certificates(bundle);
  const isOurs = ({ raw }: X509Certificate) => ours.some((certificate) => certificate.raw.equals(raw));
  const others = present
    .filter((certificate) => certificate.validToDate.getTime() > now && !isOurs(certificate))
    .toSorted((a, b) => b.validFromDate.getTime() - a.validFromDate.getTime())
    .slice(0, maxCertificates - ours.length);
  const isComplete = present.filter(isOurs).length === ours.length && others.length + ours.length === present.length;
  return isComplete ? bundle : [...others, ...ours].map(String).join('');
}

function certificates(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g) ?? [];
  return blocks.flatMap((block) => {
    try {
      return [new X509Certificate(block)];
    } catch {
      return [];
    }
  });
}
