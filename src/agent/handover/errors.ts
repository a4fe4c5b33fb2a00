/** Why a call of the source's agent has no answer. */

/**
 * No answer came: the connection failed or broke, or the deadline passed. The message may have arrived and have been acted on
 * all the same.
 */
export class HandoverUnreachable extends Error {
  override readonly name = 'HandoverUnreachable';
  readonly code = 'HandoverUnreachable';
}

/**
 * WrongPeer: the other end does not have the attempt's certificate, or it is not valid now; nothing was sent.
 * InvalidMessage, UnknownCall: the target's agent does not understand this one, which may be of another version.
 * Busy: it has too many calls of this attempt at once, or did not answer a ping in time.
 * Failed: it could not do what was asked, its log says why. InvalidAnswer: it said what this agent does not understand.
 */
export type HandoverRefusalCode = 'WrongPeer' | 'InvalidMessage' | 'UnknownCall' | 'Busy' | 'Failed' | 'InvalidAnswer';

/** There is somebody at the other end, and no answer to be had from it. */
export class HandoverRefused extends Error {
  override readonly name = 'HandoverRefused';
  readonly code: HandoverRefusalCode;

  constructor(code: HandoverRefusalCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A certificate or a key that cannot be used at all: it is no PEM, or the two do not belong together. */
export class HandoverCertificateInvalid extends Error {
  override readonly name = 'HandoverCertificateInvalid';
  readonly code = 'HandoverCertificateInvalid';
}
