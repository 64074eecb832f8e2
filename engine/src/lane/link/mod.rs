//! One connection between lanes, or between a client and a lane, after the greeting.
