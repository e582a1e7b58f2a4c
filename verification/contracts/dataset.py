"""What a data set on a disk promises: a killed or stopped generation leaves nothing half-done under a final name,
and a data set of another configuration is refused by the name of the key that differs."""
