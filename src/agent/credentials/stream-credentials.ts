/** Gives QEMU the keys of a migration stream. */
import { X509Certificate } from 'node:crypto';
import type { KeyPair } from '../../certificates/key-pair.ts';
import type { Qemu } from '../qemu/qemu.ts';
import { PassingFolder } from './passing-folder.ts';
import { userObjects } from './traces.ts';

export interface StreamCredentials {
  /** The object's name in QEMU: `streamCredentialsID`. */
  readonly id: string;
  /** The source connects and is the client. */
  readonly endpoint: 'client' | 'server';
  readonly own: KeyPair;
  /** In PEM, as the other side has published it. */
  readonly peerCertificate: string;
}

export class InvalidPeerCertificate extends Error {
  override readonly name = 'InvalidPeerCertificate';
  readonly code = 'InvalidPeerCertificate';
}

/**
 * Makes the object that `tls-creds` of the migration parameters can name; it then speaks only with the owner of that one
 * certificate. One of the same name is replaced: what an agent that ended meanwhile has left may be half of an older plan.
 * QEMU reads the files while it makes the object, and they are gone when this returns or throws.
 *
 * Only with the pod's place in the queue, like every change of a QEMU.
 * @throws InvalidPeerCertificate; RunVolumeError; the file system's errors; QmpError: a QmpCommandError is QEMU's refusal.
 */
export async function installStreamCredentials(
  qemu: Pick<Qemu, 'monitor' | 'runVolume'>,
  { id, endpoint, own, peerCertificate }: StreamCredentials,
): Promise<void> {
  const peer = singleCertificate(peerCertificate);
  const monitor = await qemu.monitor();
  if ((await userObjects(monitor)).includes(id)) await monitor.execute('object-del', { id });
  using volume = qemu.runVolume();
  using folder = PassingFolder.create(volume, {
    'ca-cert.pem': peer,
    [`${endpoint}-cert.pem`]: own.certificate,
    [`${endpoint}-key.pem`]: own.privateKey,
  });
  await monitor.execute('object-add', {
    'qom-type': 'tls-creds-x509',
    id,
    endpoint,
    dir: folder.name,
    'verify-peer': true,
    // It would demand that the trusted certificate be an authority's, which could vouch for others. The handshake checks the rest.
    'sanity-check': false,
  });
}

/** The first certificate of the text and nothing else of it: QEMU would trust every further one as well. */
function singleCertificate(pem: string): string {
  try {
    return new X509Certificate(pem).toString();
  } catch (cause) {
    throw new InvalidPeerCertificate("the other side's certificate cannot be read", { cause });
  }
}
