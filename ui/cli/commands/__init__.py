"""The commands: each folder has its options (`command`), its work, and its result as text (`listing`)."""
