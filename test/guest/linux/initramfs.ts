import { gzipSync } from 'node:zlib';

/** A file, a folder (no content) or a device of the initramfs. */
export interface InitramfsEntry {
  /** Without a leading slash; parents come first in the list. */
  readonly path: string;
  /** File type and permissions as in `stat`, e.g. `0o100755`. */
  readonly mode: number;
  readonly content?: Uint8Array;
  readonly device?: { readonly major: number; readonly minor: number };
}

/** An initramfs for Linux: cpio in the "newc" format, compressed with gzip. Equal entries give equal bytes. */
export function packInitramfs(entries: readonly InitramfsEntry[]): Buffer {
  const trailer = { path: 'TRAILER!!!', mode: 0 };
  const records = [...entries, trailer].map((entry, index) => newcRecord(entry, index + 1));
  return gzipSync(Buffer.concat(records));
}

/** See `Documentation/driver-api/early-userspace/buffer-format.rst` in Linux: 13 fields of 8 hexadecimal digits. */
function newcRecord({ path, mode, content, device }: InitramfsEntry, inode: number): Buffer {
  const name = Buffer.from(`${path}\0`);
  const body = content ?? Buffer.alloc(0);
  const [user, group, links, time, major, minor, checksum] = [0, 0, 1, 0, 0, 0, 0];
  const fields = [inode, mode, user, group, links, time, body.length, major, minor];
  fields.push(device?.major ?? 0, device?.minor ?? 0, name.length, checksum);
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
  return Buffer.concat([aligned(Buffer.concat([header, name])), aligned(body)]);
}

function aligned(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
