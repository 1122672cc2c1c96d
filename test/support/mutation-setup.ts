/** Before the tests of a mutation: a property that fails has noticed it, and need not be made smaller. */

import fc from 'fast-check';

fc.configureGlobal({ endOnFailure: true });
