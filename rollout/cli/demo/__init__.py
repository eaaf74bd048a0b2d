"""`rollout demo`: three releases under load on this machine, played with the real parts."""
