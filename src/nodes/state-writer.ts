/** What commits changes of the shared state: the state itself, or a leader under its epoch [LEAD-2]. */

import type { StateStore } from './ports.ts';

export type StateWriter = Pick<StateStore, 'commit'>;
