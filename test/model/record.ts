/** Records of small numbers laid over one array of bytes: what a state needs to be copied, compared and stored by the million. */

/** One byte each (0 to 255), and two bytes each (0 to 65535). */
interface Layout<Small extends string, Wide extends string> {
  bytes: number;
  over: (bytes: Uint8Array, offset: number) => Record<Small | Wide, number>;
}

export function record<const Small extends string, const Wide extends string>(
  small: readonly Small[],
  wide: readonly Wide[],
): Layout<Small, Wide> {
  class Fields {
    readonly bytes: Uint8Array;
    readonly offset: number;
    constructor(bytes: Uint8Array, offset: number) {
      this.bytes = bytes;
      this.offset = offset;
    }
  }
  small.forEach((name, at) => {
    Object.defineProperty(Fields.prototype, name, {
      get(this: Fields) {
        return this.bytes[this.offset + at];
      },
      set(this: Fields, value: number) {
        this.bytes[this.offset + at] = value;
      },
    });
  });
  wide.forEach((name, index) => {
    const at = small.length + 2 * index;
    Object.defineProperty(Fields.prototype, name, {
      get(this: Fields) {
        return (this.bytes[this.offset + at] ?? 0) | ((this.bytes[this.offset + at + 1] ?? 0) << 8);
      },
      set(this: Fields, value: number) {
        this.bytes[this.offset + at] = value & 255;
        this.bytes[this.offset + at + 1] = value >> 8;
      },
    });
  });
  const over = (bytes: Uint8Array, offset: number) =>
    new Fields(bytes, offset) as unknown as Record<Small | Wide, number>;
  return { bytes: small.length + 2 * wide.length, over };
}

/** Words as numbers from 0, so that a record can hold them. */
export function numbered<const Words extends readonly string[]>(words: Words): Readonly<Record<Words[number], number>> {
  return Object.fromEntries(words.map((word, index) => [word, index])) as Record<Words[number], number>;
}

/** Values that are equal as JSON get the same number, from 1; 0 is nothing. */
export class Numbering<Value> {
  readonly #values: (Value | undefined)[] = [undefined];
  readonly #numbers = new Map<string, number>();

  of(value: Value): number {
    const text = JSON.stringify(value);
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    const fresh = this.#values.length;
    if (fresh > 65_535) throw new Error('more different values than a record can hold');
    this.#numbers.set(text, fresh);
    this.#values.push(value);
    return fresh;
  }

  at(number: number): Value {
    const value = this.#values[number];
    if (value === undefined) throw new Error(`nothing has the number ${number}`);
    return value;
  }
}
