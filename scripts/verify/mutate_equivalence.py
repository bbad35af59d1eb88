def proved(mutation, folder):
    return False
