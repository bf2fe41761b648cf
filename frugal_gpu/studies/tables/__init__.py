"""The tables of the paper and of its authors' answers as studies: what is trained, the runs that they share, what they say."""
