//! Dead letters: kept, bounded, overtaken by later attempts, gone with their job; listed, taken away and replayed.

mod replay;
mod store;
