"""Where the runs of a study are carried out: on this machine, or by a cluster's own queue."""
