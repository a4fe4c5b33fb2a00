import { connect, type Socket } from 'node:net';
import { QmpBusy, QmpConnectFailed } from './errors.ts';

/** The longest path of a unix socket; a longer one is opened through /proc/self/fd/<folder>/. */
const longestSocketPath = 107;

/**
 * A connected unix socket; the system answers at once.
 * @throws QmpConnectFailed, QmpBusy
 */
export async function connectTo(socketPath: string): Promise<Socket> {
  if (Buffer.byteLength(socketPath) > longestSocketPath) throw new QmpConnectFailed(socketPath, 'ENAMETOOLONG');
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ path: socketPath });
  socket.once('connect', () => {
    socket.off('error', reject);
    resolve(socket);
  });
  socket.once('error', reject);
  try {
    return await promise;
  } catch (cause) {
    const errno = (cause as NodeJS.ErrnoException).code ?? 'EUNKNOWN';
    // A listening QEMU has room for one or two waiting clients; the system turns away the next.
    if (errno === 'EAGAIN') throw new QmpBusy('Too many clients wait for this QMP monitor', { cause });
    throw new QmpConnectFailed(socketPath, errno, { cause });
  }
}
