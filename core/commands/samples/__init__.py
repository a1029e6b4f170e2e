"""Commands about the samples and classes of a finished study: the tables of the pages Classes and Samples."""
