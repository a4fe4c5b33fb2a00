export class InvalidQuantity extends Error {
  readonly code = 'InvalidQuantity';
}

/** As powers of the base, so that every product stays exact up to 2^53. */
const suffixes: Readonly<Record<string, readonly [base: number, exponent: number]>> = {
  '': [1, 1],
  k: [1000, 1],
  M: [1000, 2],
  G: [1000, 3],
  T: [1000, 4],
  Ki: [1024, 1],
  Mi: [1024, 2],
  Gi: [1024, 3],
  Ti: [1024, 4],
};

/**
 * A Kubernetes quantity of bytes as a whole number: plain, or with k, M, G, T (decimal) or Ki, Mi, Gi, Ti (binary). A fraction is
 * accepted when the product is whole (1.5Gi).
 * @throws InvalidQuantity for anything else, a negative or a fractional number of bytes, and beyond 2^53 - 1.
 */
export function parseQuantity(quantity: number | string): number {
  const match = /^(\d{1,16})(?:\.(\d{1,12}))?(Ki|Mi|Gi|Ti|k|M|G|T)?$/.exec(String(quantity));
  if (match === null)
    throw new InvalidQuantity(
      `"${quantity}" is not a quantity of bytes: write a number such as 512Mi, 4Gi or 1073741824`,
    );
  const [, whole = '', fraction = '', suffix = ''] = match;
  const [base, exponent] = suffixes[suffix] ?? [1, 1];
  const scaled = BigInt(whole + fraction) * BigInt(base) ** BigInt(exponent);
  const divisor = 10n ** BigInt(fraction.length);
  if (scaled % divisor !== 0n) throw new InvalidQuantity(`"${quantity}" is not a whole number of bytes`);
  const bytes = scaled / divisor;
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) throw new InvalidQuantity(`"${quantity}" is more than 2^53 - 1 bytes`);
  return Number(bytes);
}
