import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { BareQemu } from './bare-qemu.ts';
import { assertUnbroken, readHeartbeats } from './heartbeat.ts';
import { HeartbeatRecorder } from './heartbeat-recorder.ts';
import { packInitramfs } from './linux/initramfs.ts';
import { ensureLinuxGuest } from './linux/linux.ts';

const deadline = () => AbortSignal.timeout(100_000);

test('an initramfs is made of aligned newc records', () => {
  const entries = [{ path: 'init', mode: 0o100755, content: Buffer.from('hello') }];
  const archive = gunzipSync(packInitramfs(entries)).toString('latin1');
  expect(archive.slice(0, 22)).toBe('07070100000001000081ed');
  expect(archive.indexOf('hello')).toBe(116); // 110 bytes of header, `init` and its zero, aligned to 4
  expect(archive.indexOf('070701', 110)).toBe(124);
  expect(archive).toContain('TRAILER!!!\0');
});

test('Linux boots, counts, checks memory, moves while it runs, and obeys the power button', async () => {
  const { kernel, initrd, commandLine } = await ensureLinuxGuest();
  const arguments_ = ['-kernel', kernel, '-initrd', initrd, '-append', commandLine];
  await using recorder = new HeartbeatRecorder();
  await using source = await BareQemu.start(arguments_);
  recorder.follow('source', source.serial);
  await recorder.connected('source', deadline());
  const checking = recorder.waitFor(/counter=\d+ .*checks=1 errors=0 ok/, deadline());
  await source.execute('cont');
  await checking;

  await using target = await BareQemu.start([...arguments_, '-incoming', 'defer']);
  recorder.follow('target', target.serial);
  await recorder.connected('target', deadline());
  const counting = recorder.waitFor(/counter=\d+ .*checks=(?!1 )\d+ errors=0 ok/, deadline(), 'target');
  await source.migrateTo(target, deadline());
  await counting;
  const report = readHeartbeats(recorder.output);
  assertUnbroken(report);
  expect(report.moves).toHaveLength(1);

  await target.execute('system_powerdown');
  expect(await target.ended).toBe(0);
});
