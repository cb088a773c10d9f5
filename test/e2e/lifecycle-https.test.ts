// The life of files once more, with a service that speaks TLS.
process.env['LHSM_TEST_HTTPS'] = '1';
await import('./lifecycle.test.js');
