"""Backgrounds removed: a model says what is in front, and the rest goes.

===============  ==================================================================================
``remove``       what an application calls: ``images.remove_background``
``wanted``       what it asked for, checked
``passing``      how the picture gets to the other process
``job``          what happens in the process of its own: decode, infer, cut, encode
``models``       the models that are known, by rembg's names
``places``       where their files are, and whether they are what they should be
``install``      putting them there: ``tonnage models install``
``session``      ONNX Runtime, set to take little memory
``masks``        what the model is given and says, as rembg has it
``edges``        a mask fitted to the picture, and colours without what was behind
``silhouette``   the outline of a person
``passport``     where the head is, and what to cut for a membership card
===============  ==================================================================================

NumPy and ONNX Runtime are imported in the job's process alone (``tonnage[background]``).
"""
