/** One side's identity in one attempt, in PEM. The certificate is published; the key never leaves the node. */
export interface KeyPair {
  readonly certificate: string;
  readonly privateKey: string;
}
