import { constants, X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { KeyPair } from '../../certificates/key-pair.ts';
import { HandoverCertificateInvalid } from './errors.ts';

/** One version, and no way to go on with an earlier session: every connection proves anew who is at its ends. */
export const protocolOptions = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const;

export interface PinnedPeer {
  /** Presents this side's certificate and trusts the peer's alone. */
  readonly context: SecureContext;
  /** Whether this is the peer's certificate, byte for byte. OpenSSL has to have verified it besides: it looks at the time as well. */
  isPeer(certificate: { readonly raw: Buffer } | undefined): boolean;
}

/**
 * @param peerCertificate PEM; the first certificate counts if there are several
 * @throws HandoverCertificateInvalid
 */
export function pinPeer(own: KeyPair, peerCertificate: string): PinnedPeer {
  try {
    const peer = new X509Certificate(peerCertificate);
    const context = createSecureContext({
      ...protocolOptions,
      cert: own.certificate,
      key: own.privateKey,
      ca: [peer.toString()],
    });
    return { context, isPeer: (certificate) => certificate?.raw.equals(peer.raw) === true };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new HandoverCertificateInvalid(`a certificate or key of the handover cannot be used: ${text}`, {
      cause: error,
    });
  }
}
