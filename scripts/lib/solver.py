"""cvc5 (PyPI, which has the library and no program) as a program: reads one SMT-LIB file, and reads its words of bits as
integers, so that products and quotients are arithmetic. Prints what a solver prints."""

import sys

import cvc5


def main(file):
    solver = cvc5.Solver()
    solver.setOption("solve-bv-as-int", "sum")
    solver.setOption("produce-models", "true")
    parser = cvc5.InputParser(solver)
    parser.setFileInput(cvc5.InputLanguage.SMT_LIB_2_6, file)
    symbols = parser.getSymbolManager()
    while not (command := parser.nextCommand()).isNull():
        print(command.invoke(solver, symbols), end="", flush=True)


main(sys.argv[1])
