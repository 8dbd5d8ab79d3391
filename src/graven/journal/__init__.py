"""The journal: the ordered durable sequence of blocks, and the seam to the disks it lies on."""
