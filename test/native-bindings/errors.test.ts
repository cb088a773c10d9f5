// The error class and its map to errnos for the MDT.
import t from 'tap';
import {
  describeError,
  errnoFor,
  errnoName,
  errnoNumber,
  hasCode,
  LhsmError,
} from '../../native-bindings/errors.js';

const of = (code: string): LhsmError => new LhsmError('x', { code, op: 'test' });

t.test('errno names and numbers', (t) => {
  t.equal(errnoName(2), 'ENOENT');
  t.equal(errnoName(11), 'EAGAIN');
  t.equal(errnoName(95), 'EOPNOTSUPP');
  t.equal(errnoNumber('EWOULDBLOCK'), 11);
  t.equal(errnoName(108), 'ESHUTDOWN');
  t.equal(errnoName(122), 'EDQUOT');
  t.equal(errnoName(9999), 'errno 9999');
  t.equal(errnoNumber('ENODATA'), 61);
  t.throws(() => errnoNumber('ENOTHING'), RangeError);
  t.end();
});

t.test('the errno that the MDT is told is real, small and never ENOSYS', (t) => {
  t.equal(errnoFor(of('ENOENT')), 2);
  t.equal(errnoFor(of('ENOSPC')), 28);
  t.equal(errnoFor(of('EDQUOT')), 122);
  t.equal(errnoFor(of('ENOSYS')), 5, 'ENOSYS would mean "cannot cancel"');
  t.equal(errnoFor(of('BLOB_CHANGED')), 5, 'a code of our own without an errno');
  t.equal(errnoFor(new LhsmError('x', { code: 'BLOB_CHANGED', op: 'test', errno: 116 })), 116);
  t.equal(errnoFor(new LhsmError('x', { code: 'X', op: 'test', errno: 200 })), 5);
  t.equal(errnoFor(Object.assign(new Error('x'), { errno: -28 })), 28, "Node's own errors");
  t.equal(errnoFor(new DOMException('x', 'AbortError')), 125);
  t.equal(errnoFor('a string'), 5);
  t.equal(errnoFor(undefined), 5);
  t.end();
});

t.test('codes are found through causes, hints follow the message', (t) => {
  const outer = new LhsmError('outer', { code: 'EIO', op: 'a', cause: of('ENOENT'), hint: 'Do this.' });
  t.ok(hasCode(outer, 'ENOENT'));
  t.ok(hasCode(outer, 'EIO'));
  t.notOk(hasCode(outer, 'EPERM'));
  t.equal(describeError(outer), 'outer Do this.');
  t.equal(describeError(of('EIO')), 'x');
  t.equal(describeError(7), '7');
  t.end();
});
