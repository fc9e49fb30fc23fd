"""The adversarial regulariser of GANPO (arXiv 2601.22083): losses, moving means and the two discriminators' state."""
