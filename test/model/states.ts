/** Stores states by the million: each once, numbered in the order in which they were found. */

const chunkStates = 1 << 15;

export class States {
  readonly #words: number;
  readonly #chunks: Int32Array[] = [];
  #slots = new Int32Array(1 << 16);
  #hashes = new Int32Array(1 << 16);
  size = 0;

  /** @param bytes of one state; a multiple of four. */
  constructor(bytes: number) {
    this.#words = bytes / 4;
  }

  /** @returns the state's number if it is new, or -1 - number if it is known. */
  add(state: Int32Array): number {
    const hash = this.#hash(state);
    const mask = this.#slots.length - 1;
    let slot = hash & mask;
    for (let entry = this.#slots[slot] ?? 0; entry !== 0; entry = this.#slots[slot] ?? 0) {
      if (this.#hashes[slot] === hash && this.#equals(entry - 1, state)) return -entry;
      slot = (slot + 1) & mask;
    }
    const number = this.size++;
    this.#chunkOf(number).set(state, (number % chunkStates) * this.#words);
    this.#slots[slot] = number + 1;
    this.#hashes[slot] = hash;
    if (this.size * 2 > this.#slots.length) this.#grow();
    return number;
  }

  /** Copies a state into `into`. */
  read(number: number, into: Int32Array): void {
    const chunk = this.#chunkOf(number);
    const start = (number % chunkStates) * this.#words;
    for (let word = 0; word < this.#words; word++) into[word] = chunk[start + word] ?? 0;
  }

  #chunkOf(number: number): Int32Array {
    const index = Math.floor(number / chunkStates);
    const chunk = this.#chunks[index] ?? new Int32Array(chunkStates * this.#words);
    this.#chunks[index] = chunk;
    return chunk;
  }

  #equals(number: number, state: Int32Array): boolean {
    const chunk = this.#chunkOf(number);
    const start = (number % chunkStates) * this.#words;
    for (let word = 0; word < this.#words; word++) if (chunk[start + word] !== state[word]) return false;
    return true;
  }

  #hash(state: Int32Array): number {
    let hash = 0x811c9dc5 | 0;
    for (let word = 0; word < this.#words; word++) {
      hash = Math.imul(hash ^ (state[word] ?? 0), 0x01000193 + 0x5bd1e994);
      hash ^= hash >>> 15;
    }
    return hash;
  }

  #grow(): void {
    const [slots, hashes] = [this.#slots, this.#hashes];
    this.#slots = new Int32Array(slots.length * 2);
    this.#hashes = new Int32Array(slots.length * 2);
    const mask = this.#slots.length - 1;
    for (let old = 0; old < slots.length; old++) {
      const entry = slots[old] ?? 0;
      if (entry === 0) continue;
      const hash = hashes[old] ?? 0;
      let slot = hash & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = entry;
      this.#hashes[slot] = hash;
    }
  }
}

/** A list of numbers that grows. */
export class Numbers {
  #values = new Int32Array(1 << 12);
  length = 0;

  push(value: number): void {
    if (this.length === this.#values.length) {
      const larger = new Int32Array(this.length * 2);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.length++] = value;
  }

  at(index: number): number {
    return this.#values[index] ?? 0;
  }
}
