"""What a picture's file says of itself, read without a decoder, in bounded steps.

    header = read_header(file)     # a Header, or ImageRefusedError

One module for each format walks through its file from part to part, reading what stands before each
and leaping over the rest, so that whatever a file holds, some kilobytes are in memory. Nothing is
decoded or unpacked, and no library is asked before it is known how large things would become.

Where the decoder sees something else in the same file, :mod:`tonnage.images.decode` refuses it.
"""
